package rotate

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Count is how many archives a rule of a Policy keeps: 0 means that there is no such rule.
type Count int

// All is the Count of a rule that keeps one archive of every period there is. It is written "all",
// and no other negative Count is valid: "-1" is more often a slip than a wish.
const All Count = -1

// UnmarshalFlag sets c from "all" or a number such as "7". It leaves c alone when it returns an error.
func (c *Count) UnmarshalFlag(s string) error {
	if s == "all" {
		*c = All
		return nil
	}
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return fmt.Errorf(`count %q: is neither "all" nor a number from 0 to %d`, s, math.MaxInt32)
	}
	*c = Count(n)
	return nil
}

// MarshalFlag returns what UnmarshalFlag reads back as c; an error if c is out of range.
func (c Count) MarshalFlag() (string, error) {
	if c == All {
		return "all", nil
	}
	if c < 0 || c > math.MaxInt32 {
		return "", fmt.Errorf("count %d: is not within 0 to %d", int(c), math.MaxInt32)
	}
	return strconv.Itoa(int(c)), nil
}

// Policy says which archives stay: each that at least one of its rules keeps. The zero Policy
// keeps everything.
//
// A count keeps the newest archive of each of that many periods in which there is one, so a gap
// in the series uses up none. A rule that has not used up its count keeps the oldest archive too.
type Policy struct {
	Last    Count // that many archives, whenever they were made
	Hourly  Count // one of each hour of the clock
	Daily   Count // one of each day
	Weekly  Count // one of each ISO week, Monday to Sunday
	Monthly Count // one of each month
	Yearly  Count // one of each year
	Within  Span  // all that are newer than this before the newest
}

// IsZero reports whether p has no rule, and so keeps everything.
func (p Policy) IsZero() bool { return p == Policy{} }

// counted is a Count of a Policy with the word for it, in String and in the reasons of a Verdict.
type counted struct {
	word  string
	count *Count
}

// counts lists the rules in the order in which they are written and tried.
func (p *Policy) counts() []counted {
	return []counted{
		{"last", &p.Last}, {"hourly", &p.Hourly}, {"daily", &p.Daily},
		{"weekly", &p.Weekly}, {"monthly", &p.Monthly}, {"yearly", &p.Yearly},
	}
}

// Check returns an error for a Count or a Span out of its range, which no text can give, or nil.
func (p Policy) Check() error {
	for _, r := range p.counts() {
		if _, err := r.count.MarshalFlag(); err != nil {
			return fmt.Errorf("policy %s: %w", r.word, err)
		}
	}
	if err := p.Within.check(); err != nil {
		return fmt.Errorf("policy within: %w", err)
	}
	return nil
}

// String returns the rules, such as "last=14 daily=7 within=30d", for ParsePolicy to read back;
// "" for the zero Policy.
func (p Policy) String() string {
	var rules []string
	for _, r := range p.counts() {
		switch *r.count {
		case 0:
		case All:
			rules = append(rules, r.word+"=all")
		default:
			rules = append(rules, r.word+"="+strconv.Itoa(int(*r.count)))
		}
	}
	if !p.Within.IsZero() {
		rules = append(rules, "within="+p.Within.String())
	}
	return strings.Join(rules, " ")
}

// ParsePolicy reads what String wrote: rules in any order, each at most once, white space between.
func ParsePolicy(s string) (Policy, error) {
	var p Policy
	seen := map[string]bool{}
	for _, rule := range strings.Fields(s) {
		word, value, ok := strings.Cut(rule, "=")
		if !ok {
			return Policy{}, fmt.Errorf("policy %q: %q is not of the form RULE=VALUE", s, rule)
		}
		if seen[word] {
			return Policy{}, fmt.Errorf("policy %q: has %q twice", s, word)
		}
		seen[word] = true
		set := p.setter(word)
		if set == nil {
			return Policy{}, fmt.Errorf("policy %q: no such rule: %q", s, word)
		}
		if err := set(value); err != nil {
			return Policy{}, fmt.Errorf("policy %q: %s: %w", s, word, err)
		}
	}
	return p, nil
}

// setter returns the function that reads the rule called word into p; nil if there is none.
func (p *Policy) setter(word string) func(string) error {
	if word == "within" {
		return p.Within.UnmarshalFlag
	}
	for _, r := range p.counts() {
		if r.word == word {
			return r.count.UnmarshalFlag
		}
	}
	return nil
}
