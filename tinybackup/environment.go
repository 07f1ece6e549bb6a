package tinybackup

import (
	"errors"
	"reflect"
	"strconv"
	"strings"
)

// variable is the environment variable of a key.
func variable(key string) string {
	return hookVariables + strings.ToUpper(strings.ReplaceAll(key, "-", "_"))
}

// fromEnvironment takes the options that are not given, as where has it, from the
// environment, and notes those in where. A variable that is empty counts as unset;
// of a list, each line is a value. Options of one backup alone have no variable,
// nor have those of one run.
func (o *Options) fromEnvironment(getenv func(string) string, where origins) error {
	var env Options
	section := iniSection{name: "environment", data: &env, shared: true}
	_, byKey, keys, err := section.keys()
	if err != nil {
		return err
	}
	if getenv == nil {
		return nil
	}
	text := []string{"[environment]"}
	found := make(origins)
	var places []string // of the lines of text, from the second on
	for _, key := range append(keys, "config") {
		if _, given := where[key]; given {
			continue
		}
		value := getenv(variable(key))
		if value == "" {
			continue
		}
		if key == "config" {
			o.Config, where[key] = value, []string{variable(key)}
			continue
		}
		values := []string{value}
		if byKey[key].Field().Type.Kind() == reflect.Slice {
			values = strings.Split(strings.Trim(value, "\n"), "\n")
		}
		for _, v := range values {
			text = append(text, key+" = "+strconv.Quote(v))
			places = append(places, variable(key))
			found[key] = append(found[key], variable(key))
		}
	}
	_, err = parseINI([]byte(strings.Join(text, "\n")), section)
	var bad *lineError
	if errors.As(err, &bad) {
		return at(places[bad.line-2], &UsageError{Msg: bad.msg, Hint: bad.hint})
	}
	if err != nil {
		return err
	}
	o.under(where, env, found)
	return nil
}

// layered completes the options of a command line, of which those in given were
// typed: from the environment, and then from the shared file. It tells where each
// stands.
func (e Env) layered(o Options, given map[string]bool) (Options, origins, error) {
	where := make(origins)
	for key := range given {
		where[key] = nil
	}
	if err := o.fromEnvironment(e.getenv, where); err != nil {
		return o, where, err
	}
	shared, err := e.shared(&o)
	if err != nil {
		return o, where, err
	}
	o.under(where, shared.options, shared.where)
	return o, where, nil
}

// shared reads the shared options for options of a command line.
func (e Env) shared(o *Options) (_ sharedFile, err error) {
	if o.Config, err = resolveConfig(o.Config); err != nil {
		return sharedFile{}, err
	}
	return readShared(o.Config, e.Dirs.Jobs)
}
