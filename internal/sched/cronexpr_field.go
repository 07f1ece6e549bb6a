package sched

import (
	"slices"
	"strconv"
	"strings"
)

// tags are the @-words. Others that some crons or gronx know (@reboot, @every,
// @5minutes) are no times, or no cron's.
var tags = []struct{ name, expr string }{
	{"@hourly", "0 * * * *"},
	{"@daily", "0 0 * * *"},
	{"@midnight", "0 0 * * *"},
	{"@weekly", "0 0 * * 0"},
	{"@monthly", "0 0 1 * *"},
	{"@yearly", "0 0 1 1 *"},
	{"@annually", "0 0 1 1 *"},
}

const cronHint = `type five fields: minute hour day-of-month month weekday, as in "30 2 * * *"`

// looksLikeCron tells a cron expression, though a wrong one, from the grammar of at(1),
// which has no *, no @, and no three words of digits in a row.
func looksLikeCron(words []string) bool {
	if words[0][0] == '@' || strings.Contains(strings.Join(words, ""), "*") {
		return true
	}
	if len(words) < 5 {
		return false
	}
	for _, w := range words[:3] {
		if strings.Trim(w, "0123456789,-/?lw#~") != "" || strings.Trim(w, "+-,/") == "" {
			return false
		}
	}
	return true
}

func (s *Spec) compileCron(words []string) *Error {
	if words[0][0] == '@' {
		expr, err := tagExpr(words)
		if err != nil {
			return err
		}
		words = strings.Fields(expr)
	}
	if n := len(words); n != len(columns) {
		hint := cronHint
		if n > len(columns) {
			hint += "; there are no seconds, no years and no command here"
		}
		return wrong(hint, "has %d cron fields instead of 5", n)
	}
	fields, err := parseFields(words)
	if err != nil {
		return err
	}
	p := pattern{fields: fields, zone: s.Anchor.Location()}
	s.Text, s.rhythm = fields.String(), p
	if t, ok := p.next(s.Anchor); ok {
		s.single = t
	}
	return nil
}

func tagExpr(words []string) (string, *Error) {
	var names []string
	for _, tag := range tags {
		if len(words) == 1 && tag.name == words[0] {
			return tag.expr, nil
		}
		names = append(names, tag.name)
	}
	hint := "type one of " + strings.Join(names, " ")
	if words[0] == "@every" {
		hint = `type "+ 6 hours" for an interval`
	}
	return "", wrong(hint, "unknown word %q", strings.Join(words, " "))
}

// parse reads one field: a comma-separated list of numbers, ranges and steps, every one
// of which is checked. star is the leading "*" or "*/n", if any.
func (f field) parse(text string) (set numbers, star string, err *Error) {
	for i, element := range strings.Split(text, ",") {
		part, err := f.element(element)
		if err != nil {
			err.Msg = f.name + " " + strconv.Quote(clip(text)) + ": " + err.Msg
			return 0, "", err
		}
		set |= part
		if i == 0 && strings.HasPrefix(element, "*") {
			star = element
		}
	}
	return set, star, nil
}

func (f field) element(text string) (numbers, *Error) {
	body, stepText, stepped := strings.Cut(text, "/")
	from, to, err := f.bounds(body, stepped)
	if err != nil {
		return 0, err
	}
	step := 1
	if stepped {
		if step, err = f.step(stepText, to-from); err != nil {
			return 0, err
		}
	}
	set := span(from, to, step)
	if f.top > f.max && set.has(f.top) { // weekday 7 is Sunday
		set = set&^(1<<f.top) | 1<<f.min
	}
	return set, nil
}

func (f field) bounds(text string, stepped bool) (from, to int, err *Error) {
	if text == "*" {
		return f.min, f.max, nil
	}
	first, last, ranged := strings.Cut(text, "-")
	if from, err = f.number(first); err != nil {
		return 0, 0, err
	}
	if !ranged {
		if stepped { // 5/15 is 5-59/15, though few crons know it
			return from, max(from, f.max), nil
		}
		return from, from, nil
	}
	if to, err = f.number(last); err != nil {
		return 0, 0, err
	}
	if from > to {
		return 0, 0, wrong("type "+f.unwrapped(from, to), "the range %q runs backwards", text)
	}
	return from, to, nil
}

// unwrapped is how to say a range across the end: 22-2 is 22-23,0-2.
func (f field) unwrapped(from, to int) string {
	if from > f.max { // weekday 7
		return strconv.Quote(f.format(span(f.min, to, 1)))
	}
	return "\"" + f.format(span(from, f.max, 1)) + "," + f.format(span(f.min, to, 1)) + "\""
}

func (f field) number(text string) (int, *Error) {
	if i := slices.Index(f.names, text); i >= 0 {
		return i + f.min, nil
	}
	n, convErr := strconv.Atoi(text)
	if text == "" || strings.Trim(text, "0123456789") != "" || convErr != nil || len(text) > 4 {
		hint := "type for example " + f.example
		switch {
		case text == "":
			return 0, wrong(hint, "a number is missing")
		case strings.ContainsAny(text, "lw#?~hr") && len(f.names) == 0, strings.ContainsAny(text, "#?~"):
			return 0, wrong(hint, "%q is not known to cron", clip(text))
		}
		return 0, wrong(hint, "%q is not a number from %d to %d", clip(text), f.min, f.top)
	}
	if n < f.min || n > f.top {
		return 0, wrong("type for example "+f.example, "%d is not within %d-%d", n, f.min, f.top)
	}
	return n, nil
}

func (f field) step(text string, width int) (int, *Error) {
	n, convErr := strconv.Atoi(text)
	if text == "" || strings.Trim(text, "0123456789") != "" || convErr != nil || n == 0 {
		return 0, wrong("type for example "+f.example, "the step %q is not a number from 1 up", clip(text))
	}
	if n > max(width, 1) {
		return 0, wrong("type the one value that is meant, or \"+ N minutes\" for an interval",
			"the step %d is larger than the range", n)
	}
	return n, nil
}
