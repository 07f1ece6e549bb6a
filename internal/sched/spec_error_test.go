package sched

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestErrors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, message, hint string }{
		{"", "is empty", "2:00"},
		{"  \t ", "is empty", "2:00"},
		// cron
		{"30 2 * *", "has 4 cron fields instead of 5", "minute hour day-of-month month weekday"},
		{"0 30 2 * * *", "has 6 cron fields instead of 5", "no seconds"},
		{"0 0 1 1 * 2027", "has 6 cron fields instead of 5", "no years"},
		{"0 0 * * * *", "has 6 cron fields instead of 5", "no seconds"},
		{"30 2 * * * /bin/true", "has 6 cron fields instead of 5", "no command"},
		{"0 2\n* * *", `control character '\n'`, "one line"},
		{"0 2 * * *\n", `control character '\n'`, "one line"},
		{"0 2 * * *\r", `control character '\r'`, "one line"},
		{"0 2 * * \x00", `control character '\x00'`, "one line"},
		{"0 2 * * \xff", "is not UTF-8", ""},
		{"60 * * * *", `minute "60": 60 is not within 0-59`, "*/5"},
		{"0 24 * * *", `hour "24": 24 is not within 0-23`, "*/4"},
		{"0 0 0 * *", `day of month "0": 0 is not within 1-31`, "1,15"},
		{"0 0 32 * *", `day of month "32": 32 is not within 1-31`, "1,15"},
		{"0 0 * 0 *", `month "0": 0 is not within 1-12`, "jan"},
		{"0 0 * 13 *", `month "13": 13 is not within 1-12`, "jan"},
		{"0 0 * * 8", `weekday "8": 8 is not within 0-7`, "mon"},
		{"42,99 * * * *", `minute "42,99": 99 is not within 0-59`, ""},
		{"* * * * 6,foo", `weekday "6,foo": "foo" is not a number from 0 to 7`, "mon"},
		{"0 0 * * 1,99", "99 is not within 0-7", ""},
		{"*/0 * * * *", `the step "0" is not a number`, ""},
		{"*/ * * * *", `the step "" is not a number`, ""},
		{"*/x * * * *", `the step "x" is not a number`, ""},
		{"*/5/5 * * * *", `the step "5/5" is not a number`, ""},
		{"*/100 * * * *", "the step 100 is larger than the range", "+ N minutes"},
		{"*/60 * * * *", "the step 60 is larger than the range", ""},
		{"0 */24 * * *", "the step 24 is larger than the range", ""},
		{"0 0 * * */7", "the step 7 is larger than the range", ""},
		{"10-20/11 * * * *", "the step 11 is larger than the range", ""},
		{"0 22-2 * * *", `the range "22-2" runs backwards`, `"22,23,0-2"`},
		{"0 2 * * SAT-SUN", `the range "sat-sun" runs backwards`, `"6,0"`},
		{"0 2 * * 7-2", `the range "7-2" runs backwards`, `"0-2"`},
		{"1-2-3 * * * *", `"2-3" is not a number`, ""},
		{"1- * * * *", "a number is missing", ""},
		{"-5 * * * *", "a number is missing", ""},
		{"1,,2 * * * *", "a number is missing", ""},
		{", * * * *", "a number is missing", ""},
		{"*-5 * * * *", `"*" is not a number`, ""},
		{"** * * * *", `"**" is not a number`, ""},
		{"+5 * * * *", `"+5" is not a number`, ""},
		{"0~30 2 * * *", `"0~30" is not known to cron`, ""},
		{"0 0 L * *", `"l" is not known to cron`, ""},
		{"0 0 15W * *", `"15w" is not known to cron`, ""},
		{"0 0 ? * *", `"?" is not known to cron`, ""},
		{"0 0 * * 5L", `"5l" is not a number`, ""},
		{"0 2 * * 1#2", `"1#2" is not known to cron`, ""},
		{"0 0 * * 1#6", `"1#6" is not known to cron`, ""},
		{"0 0 99W * *", `"99w" is not known to cron`, ""},
		{"0 0 LW * *", `"lw" is not known to cron`, ""},
		{"0 0 *W * *", `"*w" is not known to cron`, ""},
		{"0 0 * * 99L", `"99l" is not a number`, ""},
		{"0 0 2 * * * 2027", "has 7 cron fields instead of 5", ""},
		{"H 2 * * *", `minute "h"`, ""},
		{"@10minutes", `unknown word "@10minutes"`, "@hourly"},
		{"@30minutes", `unknown word "@30minutes"`, "@hourly"},
		{"0 2 * * SUNMON", `"sunmon" is not a number`, ""},
		{"0 2 jan * *", `day of month "jan"`, ""},
		{"99999999999999999999 * * * *", "is not a number", ""},
		{"30 2 31 2 *", "never happens: month 2 has no day 31", "28"},
		{"30 2 30 2 *", "never happens: month 2 has no day 30", "28"},
		{"0 0 31 2,4 *", "never happens: month 2,4 has no day 31", ""},
		{"0 0 31 4 */2", "never happens", ""},
		{"@reboot", `unknown word "@reboot"`, "@midnight"},
		{"@5minutes", `unknown word "@5minutes"`, "@hourly"},
		{"@always", `unknown word "@always"`, "@hourly"},
		{"@everysecond", `unknown word "@everysecond"`, "@hourly"},
		{"@every 5m", `unknown word "@every 5m"`, "+ 6 hours"},
		{"@daily 5", `unknown word "@daily 5"`, "@daily"},
		{"@", `unknown word "@"`, "@daily"},
		// at
		{"now", `"now" does not repeat`, "--once"},
		{"now - 5 minutes", "does not repeat", "now + 1 day"},
		{"25:00", "hour 25 is not within 0-23", "9:30"},
		{"24:00", "hour 24 is not within 0-23", "midnight"},
		{"9:60", "minute 60 is not within 0-59", "9:30"},
		{"9:5", `minute "5" of "9:5" needs two digits`, "9:30"},
		{"2500", "hour 25 is not within 0-23", ""},
		{"930", `"930" is not a time`, `"0930" or "9:30"`},
		{"14:30:15", `"14:30:15" has seconds`, `"14:30"`},
		{"13pm", "hour 13 is too large for pm", `"13:00"`},
		{"13:30am", "hour 13 is too large for am", `"13:30"`},
		{"1430 pm", `unexpected "pm"`, ""},
		{"2h", `unknown word "h"`, "14h30"},
		{"14 30", `"30" is a second time of day`, `"14:30"`},
		{"9:00 10:00", `"10:00" is a second time of day`, ""},
		{"utc", `unexpected "utc"`, ""},
		{"yesterday", `unknown word "yesterday"`, ""},
		{"mondya 9:00", `unknown word "mondya"`, "did you mean monday?"},
		{"tues", `unknown word "tues"`, "did you mean tuesday?"},
		{"daily", `unknown word "daily"`, "did you mean @daily?"},
		{"at noon", `unknown word "at"`, ""},
		{"now + 1 second", `unknown word "second"`, "+ 5 minutes"},
		{"feb 30", `"30 feb" never happens`, "1-29"},
		{"31 nov", `"31 nov" never happens`, "1-30"},
		{"29.02.2027", `"29.02.2027" never happens`, "1-28"},
		{"2027-13-01", "month 13", "2027-12-31"},
		{"12/0/2027", "never happens", "1-31"},
		{"13/12/2027", "month 13", "31.12.2027"},
		{"0 jan", "never happens", ""},
		{"nov", `"the end" after nov is not a day`, "nov 14"},
		{"nov monday", `"monday" after nov is not a day`, "nov 14"},
		{"nov 14 0930", `"0930" is not a year`, "before the date"},
		{"1969-12-31", `"1969" is not a year`, ""},
		{"nov 14, noon", `"noon" is not a year`, ""},
		{"nov 14 930", `"930" is not a year`, "before the date"},
		{"12/31", `"12/" does not begin a date`, ""},
		{"12//31", "does not begin a date", ""},
		{"123456789", `"123456789" is not a date`, ""},
		{"monday tuesday", `"tuesday" is a second date`, ""},
		{"monday next week", "second date", ""},
		{"next week monday", "second date", ""},
		{"next", `"the end" after next`, "next week"},
		{"next 5", `"5" after next`, "next week"},
		{"3000-01-01", "the year 3000 is too far away", "2126"},
		{"+", `"the end" after + is not a number`, "+ 6 hours"},
		{"+ day", `"day" after + is not a number`, "+ 6 hours"},
		{"+ 5", `"the end" after + 5 is not a unit`, "+ 6 hours"},
		{"+ 5 monday", `"monday" after + 5 is not a unit`, ""},
		{"+ 0 days", "+ 0 days is no interval", ""},
		{"+ 101 years", "more than a hundred years", "100 years"},
		{"+ 99999999999999999999 days", "more than a hundred years", ""},
		{"+ 90 minutes + 1 day", `unexpected "+"`, "one increment"},
		{"+ 1 day 9:00", `unexpected "9:00"`, ""},
		{"now 9:00", `unexpected "9:00"`, ""},
		{"9:00 now", `unexpected "now"`, ""},
		{"day", `unexpected "day"`, ""},
		{"9:00 ; rm", `unexpected ";"`, ""},
		{"9:00 mónday", "", ""},
		{"½", `unexpected "½"`, ""},
		{strings.Repeat("9", 400), "400 bytes are too long", ""},
	} {
		_, err := Parse(test.text, at(t, "UTC", saturday))
		var parseErr *Error
		if !errors.As(err, &parseErr) {
			t.Errorf("Parse(%q): got %v, want an *Error", test.text, err)
			continue
		}
		checkError(t, test.text, parseErr)
		if !strings.Contains(parseErr.Msg, test.message) {
			t.Errorf("Parse(%q): got %q, want %q", test.text, parseErr.Msg, test.message)
		}
		if !strings.Contains(parseErr.Hint(), test.hint) {
			t.Errorf("Parse(%q): got the hint %q, want %q", test.text, parseErr.Hint(), test.hint)
		}
	}
}

// What is valid does not depend on when it is asked: a list is read to its end, also if
// one of its first elements is due just now.
func TestErrorsAtAnyMinute(t *testing.T) {
	t.Parallel()
	hour := at(t, "UTC", "2026-11-21 07:00")
	for minute := range 60 {
		anchor := hour.Add(time.Duration(minute) * time.Minute)
		for _, text := range []string{fmt.Sprintf("%d,99 * * * *", minute), "* 7,99 * * *", "* * 21,99 * *", "* * * 11,99 *", "* * * * 6,foo", "* * * * 6,99"} {
			if s, err := Parse(text, anchor); err == nil {
				t.Errorf("Parse(%q) at %s: got %q, want an error", text, anchor.Format(minuteFormat), s.Text)
			}
		}
	}
}

func checkError(t *testing.T, text string, err *Error) {
	t.Helper()
	if err.Text != text || err.Msg == "" || err.Hint() == "" {
		t.Errorf("Parse(%q): got %+v, want its text, a message and a hint", text, err)
	}
	for _, s := range []string{err.Error(), err.Hint()} {
		if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) || len(s) > 700 {
			t.Errorf("Parse(%q): got %q, want one line", text, s)
		}
	}
	if want := fmt.Sprintf("time %q: ", clip(text)); !strings.HasPrefix(err.Error(), want) {
		t.Errorf("Parse(%q): got %q, want it to begin with %q", text, err.Error(), want)
	}
}

// TestOnceErrors: what has passed is refused only if it is not to repeat.
func TestOnceErrors(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"1am 2020-01-01", "2:00 today", "7:43 today", "27.04.2020", "now - 5 minutes", "9:00 monday - 1 week", "feb 30", "30 2 31 2 *"} {
		s, err := ParseOnce(text, at(t, "UTC", saturday))
		var parseErr *Error
		if !errors.As(err, &parseErr) {
			t.Errorf("ParseOnce(%q): got %v, %v, want an *Error", text, s, err)
			continue
		}
		checkError(t, text, parseErr)
		if !strings.Contains(parseErr.Msg, "past") && !strings.Contains(parseErr.Msg, "never happens") {
			t.Errorf("ParseOnce(%q): got %q, want it to be in the past", text, parseErr.Msg)
		}
	}
}
