package tinybackup

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
)

// This file puts options together from where they may stand: the command line or a
// job's file, the environment, and a file that many backups share.

// origins say of each option that was given where its values stand, such as
// "/etc/tinybackup/tinybackup.ini:7" or "TINYBACKUP_KEEP": a place for each value,
// or none for those of the command line.
type origins map[string][]string

// in are the places of a section of the file path.
func (l iniLines) in(path, section string) origins {
	where := make(origins)
	for key, lines := range l.of[section] {
		for _, line := range lines {
			where[key] = append(where[key], fmt.Sprintf("%s:%d", path, line))
		}
	}
	return where
}

// fields are the fields of options by their key, and the keys in order.
func (o *Options) fields() (keys []string, byKey map[string]reflect.Value) {
	v := reflect.ValueOf(o).Elem()
	byKey = make(map[string]reflect.Value)
	for _, f := range reflect.VisibleFields(v.Type()) {
		if key := iniKey(f.Tag); key != "" {
			keys = append(keys, key)
			byKey[key] = v.FieldByIndex(f.Index)
		}
	}
	return keys, byKey
}

// isSecret says whether the value of a key may be seen by its owner alone.
func isSecret(key string) bool {
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Options]()) {
		if iniKey(f.Tag) == key {
			return f.Tag.Get("secret") != ""
		}
	}
	return false
}

// given are the keys of the fields that are not zero.
func (o Options) given() origins {
	where := make(origins)
	_, fields := o.fields()
	for key, field := range fields {
		if !field.IsZero() {
			where[key] = nil
		}
	}
	return where
}

// isKeep says whether a key is a rule of the rotation.
func isKeep(key string) bool { return key == "keep" || strings.HasPrefix(key, "keep-") }

// hasKeep says whether any rule of the rotation is among them.
func (w origins) hasKeep() bool {
	for key := range w {
		if isKeep(key) {
			return true
		}
	}
	return false
}

// under takes from base what o, whose own options are at where, does not give, and
// notes where that stands. The rules of the rotation are one policy: all of them
// come from one side. It returns the keys that were taken, and the own ones that
// base would have given otherwise.
func (o *Options) under(where origins, base Options, baseWhere origins) (inherited, own []string) {
	keys, fields := o.fields()
	_, from := base.fields()
	keeps, baseKeeps := where.hasKeep(), baseWhere.hasKeep()
	for _, key := range keys {
		places, has := baseWhere[key]
		_, given := where[key]
		switch {
		case given && (has || isKeep(key) && baseKeeps):
			own = append(own, key)
		case given || !has || isKeep(key) && keeps:
		default:
			fields[key].Set(from[key])
			inherited = append(inherited, key)
			where[key] = places
		}
	}
	return inherited, own
}

// without is o with one value of a key replaced by one that nothing is wrong with:
// of a list the value number i is left out.
func (o Options) without(key string, i, of int) Options {
	_, fields := o.fields()
	field := fields[key]
	switch {
	case key == "source" || key == "dest":
		field.SetString("/-" + key) // nothing is called so
	case key == "name":
		field.SetString("name")
	case field.Kind() == reflect.Slice && field.Len() == of:
		rest := reflect.MakeSlice(field.Type(), 0, of)
		for j := range of {
			if j != i {
				rest = reflect.Append(rest, field.Index(j))
			}
		}
		field.Set(rest)
	default:
		field.SetZero()
	}
	return o
}

// blame puts in front of err, which checkWords has of o, the place of the value that
// is to blame: without it, the error would not be.
func (w origins) blame(o Options, err error) error {
	if err == nil || errors.As(err, new(*HintError)) {
		return err
	}
	keys, _ := o.fields()
	for _, key := range keys {
		for i, place := range w[key] {
			if other := o.without(key, i, len(w[key])).checkWords(); other == nil || other.Error() != err.Error() {
				return at(place, err)
			}
		}
	}
	return err
}

// Without a word about it, the file of this name beside the directory of the jobs is
// the one that backups share; sharedNone as its name says that there is to be none.
const (
	sharedName = "tinybackup.ini"
	sharedNone = "none"
)

// A sharedFile is a file with options for many backups.
type sharedFile struct {
	path    string // empty: there is none
	options Options
	where   origins
}

// readShared reads the shared options of backups whose Config says config, and whose
// jobs are in the directory jobs. Only the file that nobody has named may be missing.
func readShared(config, jobs string) (sharedFile, error) {
	path := config
	switch config {
	case sharedNone:
		return sharedFile{}, nil
	case "":
		if filepath.Base(jobs) != jobsName { // a job's file that lies about
			return sharedFile{}, nil
		}
		path = filepath.Join(filepath.Dir(jobs), sharedName)
	}
	s, err := readSharedFile(path)
	if config == "" && errors.Is(err, fs.ErrNotExist) {
		return sharedFile{}, nil
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		return sharedFile{}, &HintError{Err: &unreadError{path, p.Err}, Hint: "see that it is there and can be read, or name another one with --config FILE, or --config none"}
	}
	return s, err
}

// An unreadError is why a file of shared options cannot be read. It is none of the
// job's file, which may be there, or not, all the same: hence no Unwrap.
type unreadError struct {
	path string
	why  error
}

func (e *unreadError) Error() string { return fmt.Sprintf("config file %q: %v", e.path, e.why) }

// readSharedFile reads a file of shared options. It may have the section [Telegram]
// of older programs.
func readSharedFile(path string) (sharedFile, error) {
	text, perm, err := readOwn("config file", path, 0o022)
	if err != nil {
		return sharedFile{}, err
	}
	var s sharedFile
	var bot telegram
	lines, err := readINI(path, text, iniSection{name: "options", data: &s.options, shared: true}, iniSection{name: telegramSection, data: &bot})
	if err != nil {
		return sharedFile{}, err
	}
	s.path, s.where = path, lines.in(path, "options")
	told, err := s.addTelegram(bot, lines.in(path, telegramSection))
	if err != nil {
		return sharedFile{}, err
	}
	for _, file := range s.options.ExcludeFrom {
		if !filepath.IsAbs(file) {
			return sharedFile{}, notAbsolute(s.where["exclude-from"], file, s.options.ExcludeFrom)
		}
	}
	if file := s.options.relativeRecipients(); file != "" {
		return sharedFile{}, notAbsolute(s.where["encrypt"], file, s.options.Encrypt)
	}
	if key, file := s.options.relative(); key != "" {
		return sharedFile{}, notAbsolute(s.where[key], file, []string{file})
	}
	if err := s.options.copiesAbsolute(s.where); err != nil {
		return sharedFile{}, err
	}
	secret := func(key string) bool { return len(s.where[key]) > 0 && isSecret(key) }
	keys, _ := s.options.fields()
	if perm&0o077 != 0 && (told || slices.ContainsFunc(keys, secret)) {
		return sharedFile{}, openToOthers("config file", path, perm)
	}
	return s, nil
}

// notAbsolute refuses one of several paths, which stand at places.
func notAbsolute(places []string, path string, all []string) error {
	err := &UsageError{Msg: fmt.Sprintf("%q is not absolute", path), Hint: "give the whole path, from / on"}
	if i := slices.Index(all, path); i < len(places) {
		return at(places[i], err)
	}
	return err
}
