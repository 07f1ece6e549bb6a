package sched

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// field is one column of a cron expression.
type field struct {
	name     string
	min, max int // what the set holds; weekdays are read up to 7 and held up to 6
	top      int // the largest number that may be typed
	names    []string
	example  string
}

var fieldNames = struct{ months, weekdays []string }{
	months:   []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"},
	weekdays: []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"},
}

var columns = [5]field{
	{name: "minute", min: 0, max: 59, top: 59, example: "0, 15,45, 10-20 or */5"},
	{name: "hour", min: 0, max: 23, top: 23, example: "2, 6,18, 9-17 or */4"},
	{name: "day of month", min: 1, max: 31, top: 31, example: "1, 1,15, 10-20 or */2"},
	{name: "month", min: 1, max: 12, top: 12, names: fieldNames.months, example: "1, jan,jul, 4-9 or */3"},
	{name: "weekday", min: 0, max: 6, top: 7, names: fieldNames.weekdays, example: "1, mon,fri, mon-fri or 1-5"},
}

const (
	minuteColumn = iota
	hourColumn
	dayColumn
	monthColumn
	weekdayColumn
)

// numbers is a set of small numbers.
type numbers uint64

func (n numbers) has(i int) bool { return n>>i&1 == 1 }

func (n numbers) list() []int {
	var found []int
	for i := range 64 {
		if n.has(i) {
			found = append(found, i)
		}
	}
	return found
}

func span(from, to, step int) numbers {
	var n numbers
	for i := from; i <= to; i += step {
		n |= 1 << i
	}
	return n
}

func (f field) all() numbers { return span(f.min, f.max, 1) }

// cronFields is a cron expression as sets, and whether a day has to satisfy both the
// day of month and the weekday, or either. Vixie's cron looks at the first character
// for that: both if one of the two fields starts with "*" (crontab(5), entry.c).
type cronFields struct {
	sets [5]numbers
	both bool
	text string // normalised: see normalise
}

func (c cronFields) everyHour() bool { return c.sets[hourColumn] == columns[hourColumn].all() }

// String is five numeric fields which every cron reads alike.
func (c cronFields) String() string { return c.text }

// parseFields reads the five fields, lower case. It is far stricter than gronx and than
// crontab(1): the first calls "0 0 * * 1,99" valid on Mondays, the second takes "1#2"
// for 1 and never runs "22-2".
func parseFields(words []string) (cronFields, *Error) {
	var c cronFields
	var stars [5]string // a leading */n
	for i, f := range columns {
		set, star, err := f.parse(words[i])
		if err != nil {
			return c, err
		}
		c.sets[i], stars[i] = set, star
	}
	c.normalise(stars)
	if !c.possible() {
		return c, wrong("type a day the month has, or 28 for one that every month has",
			"never happens: month %[2]s has no day %[1]s", words[dayColumn], words[monthColumn])
	}
	return c, nil
}

// normalise writes the expression so that no cron can read it otherwise: no names, no 7,
// no steps but those counted from 0. BusyBox counts */7 in days from 0, and Debian's
// cron treats */2 hours, but not the same list, as a wildcard when the clocks change.
func (c *cronFields) normalise(stars [5]string) {
	day, weekday := columns[dayColumn].all(), columns[weekdayColumn].all()
	c.both = stars[dayColumn] != "" || stars[weekdayColumn] != ""
	if !c.both && (c.sets[dayColumn] == day || c.sets[weekdayColumn] == weekday) {
		c.sets[dayColumn], c.sets[weekdayColumn] = day, weekday // either: any day
	}
	var words [5]string
	for i, f := range columns {
		words[i] = f.format(c.sets[i])
	}
	restricted := c.sets[dayColumn] != day && c.sets[weekdayColumn] != weekday
	switch {
	case !restricted:
		c.both = true
	case !c.both:
	case stars[weekdayColumn] != "": // only a leading star makes it both
		words[weekdayColumn] = columns[weekdayColumn].formatStar(c.sets[weekdayColumn], stars[weekdayColumn])
	default:
		words[dayColumn] = columns[dayColumn].formatStar(c.sets[dayColumn], stars[dayColumn])
	}
	switch {
	case !c.everyHour() && words[minuteColumn] == "*":
		words[minuteColumn] = "0-59" // a "*" would make the fixed hour a wildcard in Debian's cron
	case c.everyHour():
		words[minuteColumn] = everyStep(c.sets[minuteColumn], words[minuteColumn])
	}
	c.text = strings.Join(words[:], " ")
}

// everyStep is */n for a list of every n-th minute of an hour, else the list.
func everyStep(set numbers, list string) string {
	for n := 2; n <= 30; n++ {
		if set == span(0, 59, n) {
			return "*/" + strconv.Itoa(n)
		}
	}
	return list
}

func (f field) format(set numbers) string {
	if set == f.all() {
		return "*"
	}
	var parts []string
	list := set.list()
	for i := 0; i < len(list); {
		end := i
		for end+1 < len(list) && list[end+1] == list[end]+1 {
			end++
		}
		if end-i < 2 {
			parts, i = append(parts, strconv.Itoa(list[i])), i+1
			continue
		}
		parts, i = append(parts, strconv.Itoa(list[i])+"-"+strconv.Itoa(list[end])), end+1
	}
	return strings.Join(parts, ",")
}

// formatStar keeps a leading */n.
func (f field) formatStar(set numbers, star string) string {
	step, _ := strconv.Atoi(strings.TrimPrefix(star, "*/"))
	if rest := set &^ span(f.min, f.max, step); rest != 0 {
		return star + "," + f.format(rest)
	}
	return star
}

// possible tells whether any day of any year satisfies the date. 29 February comes on
// every weekday, and a weekday alone comes every week.
func (c cronFields) possible() bool {
	if !c.both {
		return true
	}
	const leapYear = 2000
	for _, month := range c.sets[monthColumn].list() {
		if slices.Min(c.sets[dayColumn].list()) <= daysIn(leapYear, time.Month(month)) {
			return true
		}
	}
	return false
}
