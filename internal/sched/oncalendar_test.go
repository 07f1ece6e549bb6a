package sched

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestOnCalendar(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		zone, text string
		once       bool
		want       string // the first events, joined by "; "
	}{
		{"UTC", "30 2 * * *", false, "*-*-* 02:30:00 UTC"},
		{"UTC", "2:30", false, "*-*-* 02:30:00 UTC"},
		{"UTC", "* * * * *", false, "*-*-* *:*:00 UTC"},
		{"UTC", "*/5 9-17 * * mon-fri", false, "Mon..Fri *-*-* 09..17:00/5:00 UTC"},
		{"UTC", "0 0 * * 0", false, "Sun *-*-* 00:00:00 UTC"},
		{"UTC", "0 0 * * sun,sat,5,1", false, "Mon,Fri..Sun *-*-* 00:00:00 UTC"},
		{"UTC", "0 12 1,15 feb,jul *", false, "*-02,07-01,15 12:00:00 UTC"},
		{"UTC", "0 0 13 * fri", false, "*-*-13 00:00:00 UTC; Fri *-*-* 00:00:00 UTC"},                           // cron's either
		{"UTC", "0 0 */2 * fri", false, "Fri *-*-01,03,05,07,09,11,13,15,17,19,21,23,25,27,29,31 00:00:00 UTC"}, // and its both
		{"UTC", "+ 6 hours", false, "*-*-* 03,09,15,21:07:00 UTC"},
		{"UTC", "3:00pm 27.04.2027", false, "*-04-27 15:00:00 UTC"},
		{"UTC", "noon", true, "2026-11-21 12:00:00 UTC"},
		{"Europe/Berlin", "noon", true, "2026-11-21 11:00:00 UTC"},
		{"Europe/Berlin", "0 3 * * *", false, "*-*-* 03:00:00 Europe/Berlin"},
		{"Europe/Berlin", "30 2 * * *", false, "*-*-* 02:30:00 Europe/Berlin; 2027-03-28 01:00:00 UTC; 2028-03-26 01:00:00 UTC"},           // skipped in spring
		{"Europe/Berlin", "*/30 * * * *", false, "*-*-* *:00/30:00 Europe/Berlin; 2027-10-31 01:00,30:00 UTC; 2028-10-29 01:00,30:00 UTC"}, // repeated in autumn
		{"Asia/Kolkata", "30 2 * * *", false, "*-*-* 02:30:00 Asia/Kolkata"},
		{"UTC", "+ 7 minutes", false, "error: systemd cannot express it: every 7 minutes is not the same minutes of every hour, nor hours of every day"},
		{"UTC", "+ 5 days", false, "error: systemd cannot express it: every 5 days are not the same days of every month or week"},
		{"UTC", "15:00 27.04.2028", false, "error: systemd cannot express it: it would not wait for 2028-04-27 15:00, and run at 2027-04-27 15:00"},
	} {
		anchor := time.Date(2026, 11, 21, 9, 7, 0, 0, loadZone(t, test.zone))
		spec, err := newSpec(test.text, anchor, test.once)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		events, err := spec.OnCalendar()
		if err != nil {
			got = "error: " + err.(*Error).Msg
			if hint := err.(*Error).Hint(); !strings.Contains(hint, "--scheduler at") {
				t.Errorf("%q in %s: hint %q names no scheduler that can", test.text, test.zone, hint)
			}
		} else {
			got = strings.Join(events[:min(len(events), 1+strings.Count(test.want, "; "))], "; ")
		}
		if got != test.want {
			t.Errorf("%q in %s: got %q, want %q", test.text, test.zone, got, test.want)
		}
	}
}

// Without a name the zone is the machine's, which systemd goes by itself.
func TestOnCalendarWithoutZoneName(t *testing.T) {
	t.Parallel()
	spec, err := Parse("30 2 * * *", time.Date(2026, 11, 21, 9, 7, 0, 0, time.FixedZone("Local", 3600)))
	if err != nil {
		t.Fatal(err)
	}
	if events, err := spec.OnCalendar(); err != nil || !slices.Equal(events, []string{"*-*-* 02:30:00"}) {
		t.Errorf("got %q, %v", events, err)
	}
}
