package tinybackup

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tinybackup/internal/rotate"
)

// A Copy is a destination that gets copies of the archives in Options.Dest. It is
// written DEST [keep=N] [keep-daily=N] … [keep-within=SPAN].
type Copy struct {
	// Dest is spelled like Options.Dest.
	Dest string
	// Policy says which archives stay there. Zero: that of the backup.
	Policy rotate.Policy
}

// keepWord is what the words of a policy begin with: those of the --keep options.
const keepWord = "keep"

// UnmarshalFlag reads a copy from the command line or a job's file. Only the last words
// are those of a policy: a path may have spaces.
func (c *Copy) UnmarshalFlag(text string) error {
	dest := strings.TrimSpace(text)
	var rules []string
	for {
		i := strings.LastIndexAny(dest, " \t") + 1
		rule, isRule := strings.CutPrefix(dest[i:], keepWord)
		if !isRule || !strings.Contains(rule, "=") {
			break
		}
		rules = append([]string{rule}, rules...)
		dest = strings.TrimSpace(dest[:i])
	}
	policy, err := parseKeep(rules)
	if err != nil {
		return err
	}
	if len(rules) > 0 && policy.IsZero() {
		return fmt.Errorf("%q would keep no archive; keep=all keeps every one", text)
	}
	if len(rules) > 0 && dest == "" {
		return fmt.Errorf("%q has no destination", text)
	}
	*c = Copy{Dest: dest, Policy: policy}
	return nil
}

// parseKeep reads the words of a policy, without what all of them begin with.
func parseKeep(words []string) (rotate.Policy, error) {
	var rules, known []string
	for _, word := range keepRules {
		known = append(known, keepWord+word.option)
	}
	for _, word := range words {
		option, value, _ := strings.Cut(word, "=")
		rule := ""
		for _, k := range keepRules {
			if k.option == option {
				rule = k.rule
			}
		}
		if rule == "" {
			word := keepWord + option
			if near := nearest(word, known); near != "" {
				return rotate.Policy{}, fmt.Errorf("no such rule: %q, did you mean %s?", word, near)
			}
			return rotate.Policy{}, fmt.Errorf("no such rule: %q; the rules are %s", word, strings.Join(known, ", "))
		}
		if slices.ContainsFunc(rules, func(r string) bool { return strings.HasPrefix(r, rule+"=") }) {
			return rotate.Policy{}, fmt.Errorf("%q is there twice", keepWord+option)
		}
		rules = append(rules, rule+"="+value)
		if _, err := rotate.ParsePolicy(rule + "=" + value); err != nil {
			return rotate.Policy{}, fmt.Errorf("%s%s: %w", keepWord, word, errors.Unwrap(err))
		}
	}
	return rotate.ParsePolicy(strings.Join(rules, " "))
}

// misspelled is a word of the destination that was meant to be one of its policy, if
// there is one: on a service, which makes what it is asked for, the copies would go to
// another place.
func (c Copy) misspelled() string {
	words := strings.Fields(c.Dest)
	if !isRemote(c.Dest) || len(words) < 2 {
		return ""
	}
	for _, word := range words[1:] {
		name, _, isRule := strings.Cut(word, "=")
		if isRule || slices.ContainsFunc(keepRules, func(k struct{ option, rule string }) bool { return name == keepWord+k.option }) {
			return word
		}
	}
	return ""
}

// keepRules are what a policy's rules are called in options and in rotate.
var keepRules = []struct{ option, rule string }{
	{"", "last"}, {"-hourly", "hourly"}, {"-daily", "daily"}, {"-weekly", "weekly"},
	{"-monthly", "monthly"}, {"-yearly", "yearly"}, {"-within", "within"},
}

// MarshalFlag writes what UnmarshalFlag reads.
func (c Copy) MarshalFlag() (string, error) { return c.String(), nil }

// String is MarshalFlag's text.
func (c Copy) String() string {
	text := c.Dest
	for _, rule := range strings.Fields(c.Policy.String()) {
		word, value, _ := strings.Cut(rule, "=")
		for _, k := range keepRules {
			if k.rule == word {
				text += " " + keepWord + k.option + "=" + value
			}
		}
	}
	return text
}

// MarshalText is String: so it stands in JSON.
func (c Copy) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// copyAnswer is how long a copy's destination may take to say what it is, before a
// run begins: the backup itself does not wait for it.
const copyAnswer = 10 * time.Second

// resolve makes the path absolute and resolves links in it, if its disk or server
// answers: a copy that is out of reach is no reason not to back up.
func (c *Copy) resolve() error {
	type result struct {
		path string
		err  error
	}
	dest := c.Dest
	answer := make(chan result, 1)
	go func() {
		path, err := resolvePath(dest)
		answer <- result{path, err}
	}()
	timer := time.NewTimer(copyAnswer)
	defer timer.Stop()
	select {
	case r := <-answer:
		c.Dest = r.path
		return r.err
	case <-timer.C:
		path, err := filepath.Abs(dest)
		c.Dest = path
		return err
	}
}

// resolveCopies resolves all of them, in a list of its own.
func (o *Options) resolveCopies() error {
	all := append([]Copy(nil), o.CopyTo...)
	for i := range all {
		if err := all[i].resolve(); err != nil {
			return err
		}
	}
	o.CopyTo = all
	return nil
}

// checkCopies is the part of checkWords that is about copies.
func (o Options) checkCopies() error {
	for i, c := range o.CopyTo {
		switch {
		case c.Dest == "":
			return &UsageError{Msg: "the destination of a copy is empty", Hint: "--copy-to wants " + destHint}
		case isURL(c.Dest) && !isRemote(c.Dest):
			return &UsageError{Msg: fmt.Sprintf("destination %q is of no kind that is known", c.Dest), Hint: "give " + destHint}
		case strings.ContainsRune(c.Dest, 0):
			return &UsageError{Msg: "a path contains a NUL character"}
		case c.Dest == o.Dest:
			return &UsageError{Msg: fmt.Sprintf("--copy-to %q is the destination itself", c.Dest), Hint: "a copy wants another place"}
		case c.misspelled() != "":
			return &UsageError{
				Msg:  fmt.Sprintf("--copy-to %q: %q is no rule of a policy", c.Dest, c.misspelled()),
				Hint: "rules stand at its end, such as keep=7 or keep-daily=30; no other word may have a = in it",
			}
		case c.Policy.Check() != nil:
			return &UsageError{Msg: fmt.Sprintf("--copy-to %q: %v", c.Dest, c.Policy.Check())}
		}
		if isRemote(c.Dest) {
			if err := checkRemote(c.Dest); err != nil {
				return err
			}
		} else if within(o.Source, c.Dest) {
			return &UsageError{Msg: fmt.Sprintf("the source %q is in the destination %q of a copy", o.Source, c.Dest), Hint: "give another directory for the copies"}
		}
		for _, other := range o.CopyTo[:i] {
			if other.Dest == c.Dest {
				return &UsageError{Msg: fmt.Sprintf("--copy-to %q is given twice", c.Dest), Hint: "give it once, with all rules of its policy"}
			}
		}
	}
	return nil
}

// copiesAbsolute refuses a copy in a file whose path is not absolute; where has their
// places.
func (o Options) copiesAbsolute(where origins) error {
	all := o.dests()[1:]
	for _, dest := range all {
		if dest != "" && !filepath.IsAbs(dest) && !isURL(dest) && !isRemote(dest) {
			return notAbsolute(where["copy-to"], dest, all)
		}
	}
	return nil
}

// within says whether a path is dir, or below it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// dests are all destinations of a backup: its own, and those of its copies.
func (o Options) dests() []string {
	all := []string{o.Dest}
	for _, c := range o.CopyTo {
		all = append(all, c.Dest)
	}
	return all
}

// forCopy are the options of a backup as they are for one of its copies.
func (o Options) forCopy(c Copy) Options {
	o.Dest = c.Dest
	if p := c.Policy; !p.IsZero() {
		o.Keep, o.KeepHourly, o.KeepDaily, o.KeepWeekly = p.Last, p.Hourly, p.Daily, p.Weekly
		o.KeepMonthly, o.KeepYearly, o.KeepWithin = p.Monthly, p.Yearly, p.Within
	}
	return o
}
