package sched

import (
	"testing"
	"time"
)

// clockZones change their clocks at other times, by other amounts and in other years.
var clockZones = []string{
	"Europe/Berlin", "America/New_York", "America/St_Johns", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Gaza",
	"Pacific/Apia", "Antarctica/Troll", "America/Sao_Paulo", "UTC",
}

// Every day of a job has one slot, in all zones and ages: where the hour is left out or
// comes twice, at the turn of a year, before 1970 was an hour old, when 32 bits end and
// when a year has five digits.
func TestDailyInAllAges(t *testing.T) {
	t.Parallel()
	for _, name := range clockZones {
		zone := loadZone(t, name)
		for _, start := range []time.Time{
			time.Date(1970, 1, 1, 0, 0, 1, 0, time.UTC), time.Date(1999, 12, 20, 0, 0, 0, 0, zone), time.Date(2026, 1, 1, 0, 0, 0, 0, zone),
			time.Date(2038, 1, 10, 0, 0, 0, 0, zone), time.Date(2106, 1, 30, 0, 0, 0, 0, zone), time.Date(9999, 12, 20, 0, 0, 0, 0, zone),
		} {
			for _, text := range []string{"0:30", "2:30", "30 2 * * *", "23:59"} {
				s, err := Parse(text, start.In(zone))
				if err != nil {
					t.Fatalf("%q at %v in %s: %v", text, start, name, err)
				}
				at, days := start.In(zone), map[string]bool{}
				for range 400 {
					next, ok := s.Next(at)
					if !ok || !next.After(at) || next.Sub(at) > 50*time.Hour {
						t.Fatalf("%q in %s: after %v comes %v, %v", text, name, at, next, ok)
					}
					day := next.Format(time.DateOnly)
					if days[day] {
						t.Fatalf("%q in %s: two slots on %s", text, name, day)
					}
					days[day] = true
					if prev, ok := s.Prev(next); !ok || !prev.Equal(next) {
						t.Fatalf("%q in %s: the slot %v is none looking back: %v, %v", text, name, next, prev, ok)
					}
					at = next
				}
			}
		}
	}
}
