package sched

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// plistMark is in every property list that is ours. A file of the same name without it is not touched.
const plistMark = "<!-- Written by tinybackup: "

// maxIntervals bounds the dictionaries of StartCalendarInterval: launchd knows neither lists nor steps, so each combination is one.
const maxIntervals = 500

// interval is a dictionary of StartCalendarInterval (launchd.plist(5)): key and value; what is missing is any.
type interval []struct {
	key   string
	value int
}

// intervals are the calendar times of a schedule, in the machine's zone; and with ask also the four of every hour at which the job
// asks whether something is owed, as launchd forgets a time at which the machine was off.
func intervals(s *Spec, job string, ask bool) ([]interval, error) {
	fields, fieldsErr := s.cronFields()
	if fieldsErr != nil {
		return nil, fieldsErr.of(s, "launchd cannot express it: ")
	}
	var dates [][]int // the columns of each kind of date
	switch {
	case !fields.both: // either, which is one after the other
		dates = [][]int{{monthColumn, dayColumn}, {monthColumn, weekdayColumn}}
	case fields.sets[dayColumn] != columns[dayColumn].all() && fields.sets[weekdayColumn] != columns[weekdayColumn].all():
		return nil, wrong("type --scheduler service", "launchd cannot express it: a day of the month and a weekday at once").of(s, "")
	default:
		dates = [][]int{{monthColumn, dayColumn, weekdayColumn}}
	}
	var all []interval
	for _, date := range dates {
		list := []interval{nil}
		for _, column := range append(date, hourColumn, minuteColumn) {
			list = combine(list, launchdKeys[column], fields.sets[column], columns[column].all())
			if len(list)+len(all) > maxIntervals {
				return nil, wrong("type --scheduler service", "launchd cannot express it: it has more than %d combinations of its fields", maxIntervals).of(s, "")
			}
		}
		all = append(all, list...)
	}
	if ask && wantsAsking(fields.String()) {
		for _, minute := range askMinutes(job) {
			all = append(all, interval{{"Minute", minute}})
		}
	}
	return all, nil
}

var launchdKeys = [5]string{"Minute", "Hour", "Day", "Month", "Weekday"}

// combine adds a column to each dictionary: as many of them as the column has values, or none of it if it has all.
func combine(list []interval, key string, set, all numbers) []interval {
	if set == all {
		return list
	}
	var more []interval
	for _, one := range list {
		for _, value := range set.list() {
			more = append(more, append(one[:len(one):len(one)], interval{{key, value}}...))
		}
	}
	return more
}

// plistText is the property list of an agent or daemon.
func plistText(e Entry, id string) (string, error) {
	if err := checkCommand(e.Binary, e.Job); err != nil {
		return "", err
	}
	if e.Spec == nil {
		return "", errors.New("launchd: no time given")
	}
	list, err := intervals(e.Spec, e.Job, e.CatchUp)
	if err != nil {
		return "", err
	}
	for _, path := range []string{e.Binary, e.Job} {
		if !utf8.ValidString(path) {
			return "", &BackendError{Op: "launchd", Err: fmt.Errorf("%q is not UTF-8, and property lists have to be", path), hint: "use a plainer path, or --scheduler service"}
		}
	}
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
` + plistMark + "`tinybackup uninstall " + id + "` removes it. -->\n" + `<plist version="1.0">
<dict>
	<key>Label</key>
	<string>` + labelOf(id) + `</string>
	<key>ProgramArguments</key>
	<array>
`)
	for _, word := range []string{e.Binary, "run", "--job", e.Job} {
		b.WriteString("\t\t<string>")
		_ = xml.EscapeText(&b, []byte(word)) // a Builder takes all
		b.WriteString("</string>\n")
	}
	b.WriteString("\t</array>\n\t<key>StartCalendarInterval</key>\n\t<array>\n")
	for _, one := range list {
		b.WriteString("\t\t<dict>\n")
		for _, pair := range one {
			fmt.Fprintf(&b, "\t\t\t<key>%s</key>\n\t\t\t<integer>%d</integer>\n", pair.key, pair.value)
		}
		b.WriteString("\t\t</dict>\n")
	}
	b.WriteString("\t</array>\n\t<key>RunAtLoad</key>\n\t<false/>\n\t<key>Nice</key>\n\t<integer>19</integer>\n</dict>\n</plist>\n")
	return b.String(), nil
}

// parsePlist finds the binary and the job in a property list of ours: false if it does not start the one command that plistText writes.
func parsePlist(text string) (binary, job string, ok bool) {
	if !strings.Contains(text, plistMark) {
		return "", "", false
	}
	var words []string
	key, inArray := "", false
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", "", false
		}
		switch token := token.(type) {
		case xml.StartElement:
			var value string
			switch token.Name.Local {
			case "key", "string":
				if d.DecodeElement(&value, &token) != nil {
					return "", "", false
				}
				if token.Name.Local == "key" {
					key = value
				} else if inArray && key == "ProgramArguments" {
					words = append(words, value)
				}
			case "array":
				inArray = true
			}
		case xml.EndElement:
			inArray = inArray && token.Name.Local != "array"
		}
	}
	if len(words) != 4 || words[1] != "run" || words[2] != "--job" || checkCommand(words[0], words[3]) != nil {
		return "", "", false
	}
	return words[0], words[3], true
}
