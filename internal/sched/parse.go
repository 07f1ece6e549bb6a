package sched

import (
	"strconv"
	"strings"
	"time"
)

// moment is a parsed specification of at(1)'s grammar, before it meets an anchor.
type moment struct {
	clock       *clock // nil: the time of day of the anchor
	utc         bool
	date        date
	month       time.Month // monthDay, fullDate
	day, year   int        // monthDay (day), fullDate
	weekday     time.Weekday
	next        *unit // "next week"
	increment   int   // 0: none
	incrementIn unit
}

type clock struct{ hour, minute int }

type date int

const (
	noDate date = iota
	today
	tomorrow
	aWeekday
	monthDay
	fullDate
)

// String is the moment in the one form that stands for all ways to type it.
func (m moment) String() string {
	var parts []string
	if m.clock != nil {
		parts = append(parts, pad(m.clock.hour)+":"+pad(m.clock.minute))
	}
	if m.utc {
		parts = append(parts, "utc")
	}
	switch m.date {
	case today:
		parts = append(parts, "today")
	case tomorrow:
		parts = append(parts, "tomorrow")
	case aWeekday:
		parts = append(parts, strings.ToLower(m.weekday.String()))
	case monthDay:
		parts = append(parts, strconv.Itoa(m.day), strings.ToLower(m.month.String()))
	case fullDate:
		parts = append(parts, strconv.Itoa(m.year)+"-"+pad(int(m.month))+"-"+pad(m.day))
	}
	amount, in := m.increment, m.incrementIn
	if m.next != nil {
		if amount == 0 {
			amount, in = 1, *m.next
		} else {
			parts = append(parts, "next "+unitNames[*m.next])
		}
	}
	if len(parts) == 0 {
		parts = append(parts, "now")
	}
	if amount > 0 {
		parts = append(parts, "+", count(amount, in))
	} else if amount < 0 {
		parts = append(parts, "-", count(-amount, in))
	}
	return strings.Join(parts, " ")
}

func pad(n int) string {
	if n < 10 {
		return "0" + strconv.Itoa(n)
	}
	return strconv.Itoa(n)
}

// count is "1 day", "7 days".
func count(n int, u unit) string {
	if n == 1 {
		return "1 " + unitNames[u]
	}
	return strconv.Itoa(n) + " " + unitNames[u] + "s"
}
