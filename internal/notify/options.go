package notify

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// options are those in the query of a URL. Each is taken out as it is read; what
// cannot be read is noted.
type options struct {
	url.Values
	err error // the first one
}

// text is the value of an option that has one or several names; "" if it is not there.
// A key of the server's own that has such a name has two underscores before it, which
// go.
func (o *options) text(names ...string) (value string) {
	for _, name := range names {
		if o.Get(name) != "" {
			value = o.Get(name)
		}
		o.Del(name)
		if escaped := "__" + name; o.Has(escaped) {
			o.Values[name] = o.Values[escaped]
			o.Del(escaped)
		}
	}
	return value
}

// or is the value of an option, or what it is without one.
func (o *options) or(otherwise string, names ...string) string {
	if value := o.text(names...); value != "" {
		return value
	}
	return otherwise
}

// yes is the value of an option that is yes or no, and whether it is there.
func (o *options) yes(names ...string) (yes, given bool) {
	value := o.text(names...)
	if value == "" {
		return false, false
	}
	yes, known := yesOrNo(value)
	if !known {
		o.fail(fmt.Errorf("%s=%s is neither yes nor no", names[0], value))
	}
	return yes, known
}

// word is the value of an option that is one of some words, in lower case; "" if it
// is not there.
func (o *options) word(name string, words ...string) string {
	value := strings.ToLower(o.text(name))
	if value != "" && !slices.Contains(words, value) {
		o.fail(fmt.Errorf("%s=%s is none of %s", name, value, strings.Join(words, ", ")))
	}
	return value
}

func (o *options) fail(err error) {
	if o.err == nil {
		o.err = err
	}
}

// yesOrNo reads a value that means one of the two.
func yesOrNo(value string) (yes, known bool) {
	switch strings.ToLower(value) {
	case "yes", "y", "true", "1":
		return true, true
	case "no", "n", "false", "0":
		return false, true
	}
	return false, false
}
