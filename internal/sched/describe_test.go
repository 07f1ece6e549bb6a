package sched

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDescribe(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, want string }{
		{"2:00", "every day at 02:00"},
		{"@daily", "every day at 00:00"},
		{"30 2 * * *", "every day at 02:30"},
		{"30 2,14 * * *", "every day at 02:30 and 14:30"},
		{"0,30 2,14,20 * * *", "every day at 02:00, 02:30, 14:00, 14:30, 20:00 and 20:30"},
		{"*/20 1-4 * * *", "every day at minutes 0, 20 and 40 past hours 1-4"},
		{"* 2 * * *", "every day at minutes 0-59 past hour 2"},
		{"* * * * *", "every minute"},
		{"*/15 * * * *", "every 15 minutes"},
		{"*/7 * * * *", "every hour at minutes 0, 7, 14, 21, 28, 35, 42, 49 and 56"},
		{"@hourly", "every hour at minute 0"},
		{"5 * * * mon", "every hour at minute 5 every Monday"},
		{"*/15 * * jan *", "every 15 minutes in January"},
		{"0 2 * * mon", "every Monday at 02:00"},
		{"0 2 * * 1-5", "every Monday to Friday at 02:00"},
		{"0 2 * * sat,sun", "every Sunday and Saturday at 02:00"},
		{"0 2 1 * *", "on day 1 of the month at 02:00"},
		{"0 2 1,15 jan,jul *", "on days 1 and 15 of the month in January and July at 02:00"},
		{"0 2 1,15 * 5", "on days 1 and 15 of the month and every Friday at 02:00"},
		{"0 2 1,8 * */5", "on days 1 and 8 of the month if that is a Sunday or Friday at 02:00"},
		{"0 2 * jan *", "every day in January at 02:00"},
		{"9:00 monday", "every Monday at 09:00"},
		{"9:00 saturday", "every Saturday at 09:00 from 2026-11-28"},
		{"9:00 monday + 2 weeks", "every 2 weeks on Monday at 09:00 from 2026-12-07"},
		{"+ 1 week", "every Saturday at 07:43"},
		{"9:00 tomorrow", "every day at 09:00 from 2026-11-22"},
		{"2:00 tomorrow", "every day at 02:00"},
		{"2:00 + 3 days", "every 3 days at 02:00 from 2026-11-24"},
		{"+7 minutes", "every 7 minutes from 2026-11-21 07:50"},
		{"+ 1 minute", "every minute from 2026-11-21 07:44"},
		{"+ 90 minutes", "every 90 minutes from 2026-11-21 09:13"},
		{"+ 1 hour", "every hour from 2026-11-21 08:43"},
		{"+ 120 minutes", "every 2 hours from 2026-11-21 09:43"},
		{"3:00pm 27.04.2027", "every year on 27 April at 15:00"},
		{"3:00pm 27.04.2028", "every year on 27 April at 15:00 from 2028-04-27"},
		{"noon feb 29", "every leap year on 29 February at 12:00"},
		{"noon 29 feb 2028 + 1 year", "every year on the last day of February at 12:00 from 2029-02-28"},
		{"+ 1 month", "every month on day 21 at 07:43"},
		{"noon 31 jan + 1 month", "every month on day 31 or its last day at 12:00 from 2027-02-28"},
		{"+ 3 months", "every 3 months on day 21 at 07:43 from 2027-02-21"},
		{"+ 2 years", "every 2 years on 21 November at 07:43 from 2028-11-21"},
		{"2:30 utc", "every day at 02:30 UTC"},
	} {
		s := mustSpec(t, test.text, at(t, "Europe/Berlin", saturday))
		if got := s.Describe(); got != test.want {
			t.Errorf("Describe of %q: got %q, want %q", test.text, got, test.want)
		}
	}
	s, err := ParseOnce("9:00 monday", at(t, "Europe/Berlin", saturday))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.Describe(), "once, on Monday 2026-11-23 at 09:00"; got != want {
		t.Errorf("Describe: got %q, want %q", got, want)
	}
}

func TestNotes(t *testing.T) {
	t.Parallel()
	const leap = "29 February comes in leap years only."
	for _, test := range []struct{ zone, text, want string }{
		{"Europe/Berlin", "2:30", "On 2027-03-28 the clocks go forward from 02:00 to 03:00: the run of 02:30 starts at 03:00.|" +
			"On 2027-10-31 the clocks go back from 03:00 to 02:00: the run of 02:30 starts only the first time the clocks show it."},
		{"Europe/Berlin", "30 2 * * *", "On 2027-03-28 the clocks go forward from 02:00 to 03:00: the run of 02:30 starts at 03:00.|" +
			"On 2027-10-31 the clocks go back from 03:00 to 02:00: the run of 02:30 starts only the first time the clocks show it."},
		{"Europe/Berlin", "*/30 2 * * *", "On 2027-03-28 the clocks go forward from 02:00 to 03:00: the 2 runs of 02:00 to 02:30 are one, at 03:00.|" +
			"On 2027-10-31 the clocks go back from 03:00 to 02:00: the 2 runs of 02:00 to 02:30 start only the first time the clocks show it."},
		{"Europe/Berlin", "3:00", ""},
		{"Europe/Berlin", "1:59", ""},
		{"Europe/Berlin", "2:00 monday", ""}, // clocks change on Sundays
		{"Europe/Berlin", "2:00 sunday", "On 2027-03-28 the clocks go forward from 02:00 to 03:00: the run of 02:00 starts at 03:00.|" +
			"On 2027-10-31 the clocks go back from 03:00 to 02:00: the run of 02:00 starts only the first time the clocks show it."},
		{"Europe/Berlin", "2:30 28 mar", "On 2027-03-28 the clocks go forward from 02:00 to 03:00: the run of 02:30 starts at 03:00."},
		{"Europe/Berlin", "*/15 * * * *", ""},
		{"Europe/Berlin", "+ 30 minutes", ""},
		{"Europe/Berlin", "+ 6 hours", "It counts elapsed time: when the clocks change, first on 2027-03-28, the local times of its runs move."},
		{"Europe/Berlin", "2:30 utc", "It keeps to UTC: when the clocks change, first on 2027-03-28, the local times of its runs move."},
		{"Asia/Kathmandu", "2:30", ""},
		{"UTC", "2:30 utc", ""},
		{"Atlantic/Azores", "0:30", "On 2027-03-28 the clocks go forward from 00:00 to 01:00: the run of 00:30 starts at 01:00.|" +
			"On 2027-10-31 the clocks go back from 01:00 to 00:00: the run of 00:30 starts only the first time the clocks show it."},
		{"Australia/Lord_Howe", "2:15", "On 2027-10-03 the clocks go forward from 02:00 to 02:30: the run of 02:15 starts at 02:30."},
		{"UTC", "0 2 1,15 * 5", "Day of month and weekday are either-or: it runs on days 1 and 15 of the month, and also every Friday."},
		{"UTC", "0 2 */10 * 5", "One of day of month and weekday starts with *, so that both must fit: days 1, 11, 21 and 31 of the month, if that is a Friday."},
		{"UTC", "0 2 29 2 *", leap},
		{"UTC", "feb 29", leap},
		{"UTC", "0 2 31 * *", "There is no day 31 in February, April, June, September and November: no run then."},
		{"UTC", "0 2 30,31 * *", "There is no day 30 in February: no run then."},
		{"UTC", "0 2 29 * *", leap},
		{"UTC", "0 2 1,31 * *", ""},
		{"UTC", "31 jan + 1 month", "In a month without day 31 it runs on the last day."},
		{"UTC", "*/7 * * * *", `Every hour begins anew at minute 0, 4 minutes after the run before; "+ 7 minutes" is even.`},
		{"UTC", "0 */5 * * *", `Every day begins anew at hour 0, 4 hours after the run before; "+ 5 hours" is even.`},
	} {
		s := mustSpec(t, test.text, at(t, test.zone, saturday))
		if got := strings.Join(s.Notes(s.Anchor), "|"); got != test.want {
			t.Errorf("Notes of %q in %s: got\n%s\nwant\n%s", test.text, test.zone, got, test.want)
		}
	}
}

// TestNotesYear: only the year from the given time on counts, and only the slot of Once.
func TestNotesYear(t *testing.T) {
	t.Parallel()
	s := mustSpec(t, "2:30", at(t, "Europe/Berlin", saturday))
	got := strings.Join(s.Notes(at(t, "Europe/Berlin", "2030-06-01 00:00")), "|")
	if !strings.Contains(got, "2030-10-27") || !strings.Contains(got, "2031-03-30") || strings.Count(got, "On ") != 2 {
		t.Errorf("a year from June 2030: got %q", got)
	}
	if early := s.Notes(time.Time{}); !slices.Equal(early, s.Notes(s.Anchor)) {
		t.Errorf("before the anchor: got %q, want the year from the anchor on", early)
	}
	s.Once = true
	if got := s.Notes(s.Anchor); got != nil {
		t.Errorf("once: got %q, want none", got)
	}
	s = mustSpec(t, "2:30 2027-03-28", s.Anchor)
	s.Once = true
	if got := s.Notes(s.Anchor); len(got) != 1 || !strings.Contains(got[0], "starts at 03:00") {
		t.Errorf("once, in a gap: got %q", got)
	}
}
