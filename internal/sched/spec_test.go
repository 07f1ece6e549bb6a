package sched

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// saturday is the anchor of the tables: Saturday, 2026-11-21 07:43:00.
const saturday = "2026-11-21 07:43:00"

func loadZone(t testing.TB, name string) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

func at(t testing.TB, zone, text string) time.Time {
	t.Helper()
	layout := "2006-01-02 15:04:05"
	parsed, err := time.ParseInLocation(layout[:len(text)], text, loadZone(t, zone))
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func mustSpec(t testing.TB, text string, anchor time.Time) *Spec {
	t.Helper()
	s, err := Parse(text, anchor)
	if err != nil {
		t.Fatalf("Parse(%q): %v", text, err)
	}
	return s
}

// slotsOf are the first n slots after the anchor, as "2006-01-02 15:04, …".
func slotsOf(s *Spec, n int) string {
	var found []string
	for t, i := s.Anchor, 0; i < n; i++ {
		next, ok := s.Next(t)
		if !ok {
			found = append(found, "none")
			break
		}
		found, t = append(found, next.Format(minuteFormat)), next
	}
	return strings.Join(found, ", ")
}

func TestParseCron(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, want, slots string }{
		{"30 2 * * *", "30 2 * * *", "2026-11-22 02:30, 2026-11-23 02:30"},
		{"  30\t2  *  * * ", "30 2 * * *", "2026-11-22 02:30, 2026-11-23 02:30"},
		{"@hourly", "0 * * * *", "2026-11-21 08:00, 2026-11-21 09:00"},
		{"@daily", "0 0 * * *", "2026-11-22 00:00, 2026-11-23 00:00"},
		{"@DAILY", "0 0 * * *", "2026-11-22 00:00, 2026-11-23 00:00"},
		{"@midnight", "0 0 * * *", "2026-11-22 00:00, 2026-11-23 00:00"},
		{"@weekly", "0 0 * * 0", "2026-11-22 00:00, 2026-11-29 00:00"},
		{"@monthly", "0 0 1 * *", "2026-12-01 00:00, 2027-01-01 00:00"},
		{"@yearly", "0 0 1 1 *", "2027-01-01 00:00, 2028-01-01 00:00"},
		{"@Annually", "0 0 1 1 *", "2027-01-01 00:00, 2028-01-01 00:00"},
		{"05 02 01 08 *", "5 2 1 8 *", "2027-08-01 02:05, 2028-08-01 02:05"},
		{"*/15 * * * *", "*/15 * * * *", "2026-11-21 07:45, 2026-11-21 08:00"},
		{"0,15,30,45 * * * *", "*/15 * * * *", "2026-11-21 07:45, 2026-11-21 08:00"},
		{"*/1 */1 */1 */1 */1", "* * * * *", "2026-11-21 07:44, 2026-11-21 07:45"},
		{"*/20 2 * * *", "0,20,40 2 * * *", "2026-11-22 02:00, 2026-11-22 02:20"},
		{"0 */6 * * *", "0 0,6,12,18 * * *", "2026-11-21 12:00, 2026-11-21 18:00"},
		{"3/20 * * * *", "3,23,43 * * * *", "2026-11-21 08:03, 2026-11-21 08:23"},
		{"0/5 4 * * *", "0,5,10,15,20,25,30,35,40,45,50,55 4 * * *", "2026-11-22 04:00, 2026-11-22 04:05"},
		{"10-30/10 4 * * *", "10,20,30 4 * * *", "2026-11-22 04:10, 2026-11-22 04:20"},
		{"* 2 * * *", "0-59 2 * * *", "2026-11-22 02:00, 2026-11-22 02:01"},
		{"5,4,5,1-3 4 * * *", "1-5 4 * * *", "2026-11-22 04:01, 2026-11-22 04:02"},
		{"0 2 */7 * *", "0 2 1,8,15,22,29 * *", "2026-11-22 02:00, 2026-11-29 02:00"},
		{"0 2 1 JAN,Jul *", "0 2 1 1,7 *", "2027-01-01 02:00, 2027-07-01 02:00"},
		{"0 2 * * mon-FRI", "0 2 * * 1-5", "2026-11-23 02:00, 2026-11-24 02:00"},
		{"0 2 * * 7", "0 2 * * 0", "2026-11-22 02:00, 2026-11-29 02:00"},
		{"0 2 * * 5-7", "0 2 * * 0,5,6", "2026-11-22 02:00, 2026-11-27 02:00"},
		{"0 2 * * 0-7", "0 2 * * *", "2026-11-22 02:00, 2026-11-23 02:00"},
		{"0 2 * * */2", "0 2 * * 0,2,4,6", "2026-11-22 02:00, 2026-11-24 02:00"},
		{"0 2 29 2 *", "0 2 29 2 *", "2028-02-29 02:00, 2032-02-29 02:00"},
		// either-or, unless one starts with *
		{"0 2 1,15 * 5", "0 2 1,15 * 5", "2026-11-27 02:00, 2026-12-01 02:00"},
		{"0 2 */2 * 1", "0 2 */2 * 1", "2026-11-23 02:00, 2026-12-07 02:00"},
		{"0 2 */10,5 * 6", "0 2 */10,5 * 6", "2026-12-05 02:00, 2027-05-01 02:00"},
		{"0 2 1,15 * */3", "0 2 1,15 * */3", "2027-05-01 02:00, 2027-05-15 02:00"},
		{"0 2 1-31 * 1", "0 2 * * *", "2026-11-22 02:00, 2026-11-23 02:00"},
		{"0 2 3 * 0-6", "0 2 * * *", "2026-11-22 02:00, 2026-11-23 02:00"},
		{"0 2 3 * *,1", "0 2 3 * *", "2026-12-03 02:00, 2027-01-03 02:00"},
		{"30 2 31 2 1", "30 2 31 2 1", "2027-02-01 02:30, 2027-02-08 02:30"},
		{"1 2 3 4 5", "1 2 3 4 5", "2027-04-02 02:01, 2027-04-03 02:01"},
	} {
		s := mustSpec(t, test.text, at(t, "UTC", saturday))
		if s.Text != test.want {
			t.Errorf("Parse(%q): got the text %q, want %q", test.text, s.Text, test.want)
		}
		if got := slotsOf(s, 2); got != test.slots {
			t.Errorf("Parse(%q): got slots %s, want %s", test.text, got, test.slots)
		}
	}
}

func TestParseAt(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, want, slots string }{
		// times of day
		{"14", "14:00", "2026-11-21 14:00, 2026-11-22 14:00"},
		{"2", "02:00", "2026-11-22 02:00, 2026-11-23 02:00"},
		{"1430", "14:30", "2026-11-21 14:30, 2026-11-22 14:30"},
		{"0215", "02:15", "2026-11-22 02:15, 2026-11-23 02:15"},
		{"14:30", "14:30", "2026-11-21 14:30, 2026-11-22 14:30"},
		{"14'30", "14:30", "2026-11-21 14:30, 2026-11-22 14:30"},
		{"14h30", "14:30", "2026-11-21 14:30, 2026-11-22 14:30"},
		{"14,30", "14:30", "2026-11-21 14:30, 2026-11-22 14:30"},
		{"14.30", "14:30", "2026-11-21 14:30, 2026-11-22 14:30"},
		{"9:05", "09:05", "2026-11-21 09:05, 2026-11-22 09:05"},
		{"2:00am", "02:00", "2026-11-22 02:00, 2026-11-23 02:00"},
		{"2:00 PM", "14:00", "2026-11-21 14:00, 2026-11-22 14:00"},
		{"2am", "02:00", "2026-11-22 02:00, 2026-11-23 02:00"},
		{"2 pm", "14:00", "2026-11-21 14:00, 2026-11-22 14:00"},
		{"12am", "00:00", "2026-11-22 00:00, 2026-11-23 00:00"},
		{"12:30pm", "12:30", "2026-11-21 12:30, 2026-11-22 12:30"},
		{"NOON", "12:00", "2026-11-21 12:00, 2026-11-22 12:00"},
		{"midnight", "00:00", "2026-11-22 00:00, 2026-11-23 00:00"},
		{"teatime", "16:00", "2026-11-21 16:00, 2026-11-22 16:00"},
		{"7:43", "07:43", "2026-11-22 07:43, 2026-11-23 07:43"}, // the anchor is no slot
		{"7:44", "07:44", "2026-11-21 07:44, 2026-11-22 07:44"},
		{"14:30 utc", "14:30 utc", "2026-11-21 14:30, 2026-11-22 14:30"},
		// weekdays
		{"monday", "monday", "2026-11-23 07:43, 2026-11-30 07:43"},
		{"mon", "monday", "2026-11-23 07:43, 2026-11-30 07:43"},
		{"monday 9:00", "09:00 monday", "2026-11-23 09:00, 2026-11-30 09:00"},
		{"9:00 monday", "09:00 monday", "2026-11-23 09:00, 2026-11-30 09:00"},
		{"9 Tue", "09:00 tuesday", "2026-11-24 09:00, 2026-12-01 09:00"},
		{"wednesday 9pm", "21:00 wednesday", "2026-11-25 21:00, 2026-12-02 21:00"},
		{"teatime thu", "16:00 thursday", "2026-11-26 16:00, 2026-12-03 16:00"},
		{"friday 1430", "14:30 friday", "2026-11-27 14:30, 2026-12-04 14:30"},
		{"9:00 saturday", "09:00 saturday", "2026-11-28 09:00, 2026-12-05 09:00"}, // never today
		{"sunday noon", "12:00 sunday", "2026-11-22 12:00, 2026-11-29 12:00"},
		{"next monday", "monday", "2026-11-23 07:43, 2026-11-30 07:43"},
		{"9:00 next fri", "09:00 friday", "2026-11-27 09:00, 2026-12-04 09:00"},
		// today, tomorrow
		{"today", "today", "2026-11-22 07:43, 2026-11-23 07:43"},
		{"9:00 today", "09:00 today", "2026-11-21 09:00, 2026-11-22 09:00"},
		{"2:00 today", "02:00 today", "2026-11-22 02:00, 2026-11-23 02:00"},
		{"tomorrow", "tomorrow", "2026-11-22 07:43, 2026-11-23 07:43"},
		{"teatime tomorrow", "16:00 tomorrow", "2026-11-22 16:00, 2026-11-23 16:00"},
		{"tomorrow 9", "09:00 tomorrow", "2026-11-22 09:00, 2026-11-23 09:00"},
		// dates without a year
		{"nov 30", "30 november", "2026-11-30 07:43, 2027-11-30 07:43"},
		{"1 december", "1 december", "2026-12-01 07:43, 2027-12-01 07:43"},
		{"9:00 mar 1", "09:00 1 march", "2027-03-01 09:00, 2028-03-01 09:00"},
		{"mar 1 9:00", "09:00 1 march", "2027-03-01 09:00, 2028-03-01 09:00"},
		{"0905 14 sep", "09:05 14 september", "2027-09-14 09:05, 2028-09-14 09:05"},
		{"9 14 sep", "09:00 14 september", "2027-09-14 09:00, 2028-09-14 09:00"},
		{"14 sep 9am", "09:00 14 september", "2027-09-14 09:00, 2028-09-14 09:00"},
		{"9:00 21 nov", "09:00 21 november", "2026-11-21 09:00, 2027-11-21 09:00"},
		{"7:00 21 nov", "07:00 21 november", "2027-11-21 07:00, 2028-11-21 07:00"},
		{"feb 29", "29 february", "2028-02-29 07:43, 2032-02-29 07:43"},
		{"noon 29 february", "12:00 29 february", "2028-02-29 12:00, 2032-02-29 12:00"},
		// dates with a year
		{"3:00pm 27.04.2027", "15:00 2027-04-27", "2027-04-27 15:00, 2028-04-27 15:00"},
		{"27.4.27 3:00pm", "15:00 2027-04-27", "2027-04-27 15:00, 2028-04-27 15:00"},
		{"2027-04-27", "2027-04-27", "2027-04-27 07:43, 2028-04-27 07:43"},
		{"27-4-7", "2027-04-07", "2027-04-07 07:43, 2028-04-07 07:43"},
		{"4/27/2027", "2027-04-27", "2027-04-27 07:43, 2028-04-27 07:43"},
		{"04 / 27 / 27", "2027-04-27", "2027-04-27 07:43, 2028-04-27 07:43"},
		{"042727", "2027-04-27", "2027-04-27 07:43, 2028-04-27 07:43"},
		{"42727", "2027-04-27", "2027-04-27 07:43, 2028-04-27 07:43"},
		{"04272027", "2027-04-27", "2027-04-27 07:43, 2028-04-27 07:43"},
		{"4272027", "2027-04-27", "2027-04-27 07:43, 2028-04-27 07:43"},
		{"1500 042727", "15:00 2027-04-27", "2027-04-27 15:00, 2028-04-27 15:00"},
		{"april 27 2027", "2027-04-27", "2027-04-27 07:43, 2028-04-27 07:43"},
		{"apr 27, 2027", "2027-04-27", "2027-04-27 07:43, 2028-04-27 07:43"},
		{"apr 27,2027", "2027-04-27", "2027-04-27 07:43, 2028-04-27 07:43"},
		{"apr 27 27", "2027-04-27", "2027-04-27 07:43, 2028-04-27 07:43"},
		{"27 apr 2027 noon", "12:00 2027-04-27", "2027-04-27 12:00, 2028-04-27 12:00"},
		{"noon 29 feb 2028", "12:00 2028-02-29", "2028-02-29 12:00, 2032-02-29 12:00"},
		{"noon 27 apr 2020", "12:00 2020-04-27", "2027-04-27 12:00, 2028-04-27 12:00"}, // rolled forward
		{"noon 29 feb 72", "12:00 1972-02-29", "2028-02-29 12:00, 2032-02-29 12:00"},
		// increments
		{"now + 1 day", "now + 1 day", "2026-11-22 07:43, 2026-11-23 07:43"},
		{"now+1day", "now + 1 day", "2026-11-22 07:43, 2026-11-23 07:43"},
		{"+1day", "now + 1 day", "2026-11-22 07:43, 2026-11-23 07:43"},
		{"+ 7 minutes", "now + 7 minutes", "2026-11-21 07:50, 2026-11-21 07:57"},
		{"+7min", "now + 7 minutes", "2026-11-21 07:50, 2026-11-21 07:57"},
		{"+1hour", "now + 1 hour", "2026-11-21 08:43, 2026-11-21 09:43"},
		{"+ 36 hours", "now + 36 hours", "2026-11-22 19:43, 2026-11-24 07:43"},
		{"+2weeks", "now + 2 weeks", "2026-12-05 07:43, 2026-12-19 07:43"},
		{"+ 1 month", "now + 1 month", "2026-12-21 07:43, 2027-01-21 07:43"},
		{"+ 100 years", "now + 100 years", "2126-11-21 07:43, 2226-11-21 07:43"},
		{"3:00 + 1 year", "03:00 + 1 year", "2027-11-21 03:00, 2028-11-21 03:00"},
		{"3:00 + 1 day", "03:00 + 1 day", "2026-11-22 03:00, 2026-11-23 03:00"},
		{"9:00 + 1 day", "09:00 + 1 day", "2026-11-22 09:00, 2026-11-23 09:00"},
		{"9:00 + 30 minutes", "09:00 + 30 minutes", "2026-11-21 09:30, 2026-11-21 10:00"},
		{"3:00 + 30 minutes", "03:00 + 30 minutes", "2026-11-21 08:00, 2026-11-21 08:30"},
		{"9:00 monday + 2 weeks", "09:00 monday + 2 weeks", "2026-12-07 09:00, 2026-12-21 09:00"},
		{"monday 9:00 +2 weeks", "09:00 monday + 2 weeks", "2026-12-07 09:00, 2026-12-21 09:00"},
		{"tomorrow + 2 hours", "tomorrow + 2 hours", "2026-11-22 09:43, 2026-11-22 11:43"},
		{"9 2027-04-27 + 3 days", "09:00 2027-04-27 + 3 days", "2027-04-30 09:00, 2027-05-03 09:00"},
		{"1430 21 nov 2027 +1day", "14:30 2027-11-21 + 1 day", "2027-11-22 14:30, 2027-11-23 14:30"},
		{"nov 30 + 3 days", "30 november + 3 days", "2026-12-03 07:43, 2026-12-06 07:43"},
		{"2:30 - 1 day", "02:30 - 1 day", "2026-11-22 02:30, 2026-11-23 02:30"},
		{"9:00 - 30 minutes", "09:00 - 30 minutes", "2026-11-21 08:30, 2026-11-22 08:30"},
		{"9:00 monday - 1 day", "09:00 monday - 1 day", "2026-11-22 09:00, 2026-11-29 09:00"},
		{"9:00 monday - 2 days", "09:00 monday - 2 days", "2026-11-21 09:00, 2026-11-28 09:00"},
		{"9:00 1 mar 2028 - 1 day", "09:00 2028-03-01 - 1 day", "2028-02-29 09:00, 2029-02-28 09:00"},
		{"next week", "now + 1 week", "2026-11-28 07:43, 2026-12-05 07:43"},
		{"next hour", "now + 1 hour", "2026-11-21 08:43, 2026-11-21 09:43"},
		{"9:00 next month", "09:00 + 1 month", "2026-12-21 09:00, 2027-01-21 09:00"},
		{"next week 9:00", "09:00 + 1 week", "2026-11-28 09:00, 2026-12-05 09:00"},
		{"next week + 2 days", "next week + 2 days", "2026-11-30 07:43, 2026-12-02 07:43"},
		{"9:00 next week - 2 days", "09:00 next week - 2 days", "2026-11-26 09:00, 2026-12-03 09:00"},
	} {
		s := mustSpec(t, test.text, at(t, "UTC", saturday))
		if s.Text != test.want {
			t.Errorf("Parse(%q): got the text %q, want %q", test.text, s.Text, test.want)
		}
		if got := slotsOf(s, 2); got != test.slots {
			t.Errorf("Parse(%q): got slots %s, want %s", test.text, got, test.slots)
		}
		again := mustSpec(t, s.Text, s.Anchor)
		if again.Text != s.Text || slotsOf(again, 3) != slotsOf(s, 3) {
			t.Errorf("Parse(%q): got the text %q, and that parsed again is %q", test.text, s.Text, again.Text)
		}
	}
}

// TestNoDrift: every slot is computed from the first, so that no short month, leap year
// or change of the clocks moves the later ones.
func TestNoDrift(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, anchor, slots string }{
		{"+ 1 month", "2027-01-31 12:00", "2027-02-28 12:00, 2027-03-31 12:00, 2027-04-30 12:00, 2027-05-31 12:00"},
		{"+ 1 month", "2028-01-30 12:00", "2028-02-29 12:00, 2028-03-30 12:00, 2028-04-30 12:00"},
		{"+ 1 year", "2028-02-29 12:00", "2029-02-28 12:00, 2030-02-28 12:00, 2031-02-28 12:00, 2032-02-29 12:00"},
		{"+ 3 months", "2026-11-30 12:00", "2027-02-28 12:00, 2027-05-30 12:00"},
		{"+ 1 day", "2027-03-27 02:30", "2027-03-28 03:00, 2027-03-29 02:30, 2027-03-30 02:30"},
		{"+ 1 week", "2027-03-21 02:30", "2027-03-28 03:00, 2027-04-04 02:30"},
		{"+ 24 hours", "2027-03-27 02:30", "2027-03-28 03:30, 2027-03-29 03:30"},
		{"+ 30 minutes", "2027-03-28 01:30", "2027-03-28 03:00, 2027-03-28 03:30"},
		{"+ 30 minutes", "2027-10-31 01:30", "2027-10-31 02:00, 2027-10-31 02:30, 2027-10-31 02:00, 2027-10-31 02:30, 2027-10-31 03:00"},
		{"+ 1 day", "2027-10-30 02:30", "2027-10-31 02:30, 2027-11-01 02:30"},
	} {
		s := mustSpec(t, test.text, at(t, "Europe/Berlin", test.anchor))
		if got := slotsOf(s, strings.Count(test.slots, ",")+1); got != test.slots {
			t.Errorf("Parse(%q) at %s: got slots %s, want %s", test.text, test.anchor, got, test.slots)
		}
	}
}

// TestSeconds: slots are whole minutes after the anchor, whatever its seconds.
func TestSeconds(t *testing.T) {
	t.Parallel()
	anchor := at(t, "UTC", "2026-11-21 07:43:20").Add(5 * time.Nanosecond)
	for text, want := range map[string]string{
		"+ 1 minute":  "2026-11-21 07:45",
		"+ 7 minutes": "2026-11-21 07:51",
		"7:44":        "2026-11-21 07:44",
		"7:43":        "2026-11-22 07:43",
		"today":       "2026-11-21 07:44",
		"tomorrow":    "2026-11-22 07:44",
		"* * * * *":   "2026-11-21 07:44",
	} {
		if got := slotsOf(mustSpec(t, text, anchor), 1); got != want {
			t.Errorf("Parse(%q): got %s, want %s", text, got, want)
		}
	}
	late := at(t, "UTC", "2026-11-21 23:59:30")
	for text, want := range map[string]string{
		"9:00 tomorrow": "2026-11-22 09:00",
		"9:00 today":    "2026-11-22 09:00",
		"tomorrow":      "2026-11-23 00:00", // a day after the next whole minute
		"monday":        "2026-11-23 00:00",
	} {
		if got := slotsOf(mustSpec(t, text, late), 1); got != want {
			t.Errorf("Parse(%q) at %s: got %s, want %s", text, late, got, want)
		}
	}
}

func TestOnce(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, anchor, want string }{
		{"now", saturday, "2026-11-21 07:44"}, // the anchor is no slot
		{"now", "2026-11-21 07:43:01", "2026-11-21 07:44"},
		{"today", saturday, "2026-11-21 07:44"},
		{"2:00", saturday, "2026-11-22 02:00"},
		{"9:00", saturday, "2026-11-21 09:00"},
		{"monday", saturday, "2026-11-23 07:43"},
		{"30 2 * * *", saturday, "2026-11-22 02:30"},
		{"+ 10 minutes", saturday, "2026-11-21 07:53"},
		{"3:00 + 30 minutes", saturday, "2026-11-22 03:30"}, // as at does
		{"2:30 - 1 day", saturday, "2026-11-22 02:30"},
		{"9:00 monday - 1 day", saturday, "2026-11-22 09:00"},
		{"9:00 2028-02-29", saturday, "2028-02-29 09:00"},
		{"7:00 21 nov", saturday, "2027-11-21 07:00"},
		{"next week + 2 days", saturday, "2026-11-30 07:43"},
	} {
		s, err := ParseOnce(test.text, at(t, "UTC", test.anchor))
		if err != nil {
			t.Errorf("ParseOnce(%q): %v", test.text, err)
			continue
		}
		if got := slotsOf(s, 2); got != test.want+", none" {
			t.Errorf("ParseOnce(%q): got slots %s, want only %s", test.text, got, test.want)
		}
		slot, _ := s.Next(s.Anchor)
		if got, ok := s.Prev(slot.Add(-time.Second)); ok {
			t.Errorf("ParseOnce(%q): before its slot Prev is %v, want none", test.text, got)
		}
		if got, ok := s.Prev(slot.AddDate(50, 0, 0)); !ok || !got.Equal(slot) {
			t.Errorf("ParseOnce(%q): Prev is %v, %v, want %v", test.text, got, ok, slot)
		}
	}
}

// TestOnceLater: Once may be set on a Spec that Parse made to repeat.
func TestOnceLater(t *testing.T) {
	t.Parallel()
	s := mustSpec(t, "9:00 monday", at(t, "UTC", saturday))
	s.Once = true
	if got, want := slotsOf(s, 3), "2026-11-23 09:00, none"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	s = mustSpec(t, "9:00 27.04.2020", at(t, "UTC", saturday))
	s.Once = true
	if got, want := slotsOf(s, 1), "none"; got != want {
		t.Errorf("a date of the past: got %s, want %s", got, want)
	}
	if got, want := s.Describe(), "once, but its time is past"; got != want {
		t.Errorf("Describe: got %q, want %q", got, want)
	}
}

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
		{"0 2 * * \xff", "control character", "one line"},
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

func checkError(t *testing.T, text string, err *Error) {
	t.Helper()
	if err.Text != text || err.Msg == "" || err.Hint() == "" {
		t.Errorf("Parse(%q): got %+v, want its text, a message and a hint", text, err)
	}
	for _, s := range []string{err.Error(), err.Hint()} {
		if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) || len(s) > 300 {
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
