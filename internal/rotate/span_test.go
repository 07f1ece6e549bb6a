package rotate

import (
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the zones of the tests, also where the machine has none
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func TestSpanParse(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		text string
		want Span
		back string
	}{
		{"36h", Span{Hours: 36}, "36h"},
		{"30d", Span{Days: 30}, "30d"},
		{"8w", Span{Weeks: 8}, "8w"},
		{"6m", Span{Months: 6}, "6m"},
		{"2y", Span{Years: 2}, "2y"},
		{"2y6m10d", Span{Years: 2, Months: 6, Days: 10}, "2y6m10d"},
		{"1y2m3w4d5h", Span{1, 2, 3, 4, 5}, "1y2m3w4d5h"},
		{"5h4d3w2m1y", Span{1, 2, 3, 4, 5}, "1y2m3w4d5h"},
		{"007d", Span{Days: 7}, "7d"},
		{"0d", Span{}, "0d"},
		{"0y0h", Span{}, "0d"},
		{"99999h", Span{Hours: 99999}, "99999h"},
	} {
		var got Span
		if err := got.UnmarshalFlag(tc.text); err != nil || got != tc.want {
			t.Errorf("Span %q: got %+v, %v, want %+v", tc.text, got, err, tc.want)
		}
		if back, err := got.MarshalFlag(); err != nil || back != tc.back {
			t.Errorf("MarshalFlag of %q: got %q, %v, want %q", tc.text, back, err, tc.back)
		}
		if got.IsZero() != (tc.back == "0d") {
			t.Errorf("IsZero of %q: got %v", tc.text, got.IsZero())
		}
	}
	for _, tc := range []struct{ text, want string }{
		{"", "not made of numbers"},
		{"d", "not made of numbers"},
		{"30", "not made of numbers"},
		{"0", "not made of numbers"},
		{"-30d", "not made of numbers"},
		{"+30d", "not made of numbers"},
		{"30d ", "not made of numbers"},
		{" 30d", "not made of numbers"},
		{"30d12", "not made of numbers"},
		{"1.5d", "the units are"},
		{"30 d", "the units are"},
		{"30s", "the units are"},
		{"30D", "the units are"},
		{"30é", "the units are"},
		{"1d2d", "each at most once"},
		{"30min", "not made of numbers"},
		{"100000d", "100000 is more than 99999"},
		{"99999999999999999999y", "is more than 99999"},
		{"all", "not made of numbers"},
	} {
		got := Span{Days: 1}
		err := got.UnmarshalFlag(tc.text)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("Span %q: got %+v, %v, want an error with %q", tc.text, got, err, tc.want)
		}
		if got != (Span{Days: 1}) {
			t.Errorf("Span %q: got %+v beside an error, want it left alone", tc.text, got)
		}
	}
	for _, s := range []Span{{Days: -1}, {Hours: 100_000}, {Years: -1, Months: 12}} {
		if got, err := s.MarshalFlag(); err == nil {
			t.Errorf("MarshalFlag of %#v: got %q, want an error", s, got)
		}
	}
}

func TestSpanBefore(t *testing.T) {
	t.Parallel()
	const layout = "2006-01-02 15:04 -0700"
	for _, tc := range []struct{ zone, from, span, want string }{
		{"UTC", "2026-11-21 02:30 +0000", "0d", "2026-11-21 02:30 +0000"},
		{"UTC", "2026-11-21 02:30 +0000", "2y6m10d", "2024-05-11 02:30 +0000"},
		{"UTC", "2026-11-21 02:30 +0000", "36h", "2026-11-19 14:30 +0000"},
		{"UTC", "2026-11-21 02:30 +0000", "8w", "2026-09-26 02:30 +0000"},
		{"UTC", "2026-01-15 00:00 +0000", "1m", "2025-12-15 00:00 +0000"},
		{"UTC", "2026-01-15 00:00 +0000", "25m", "2023-12-15 00:00 +0000"},
		// A day that the earlier month lacks is its last.
		{"UTC", "2026-03-31 12:00 +0000", "1m", "2026-02-28 12:00 +0000"},
		{"UTC", "2026-03-29 12:00 +0000", "1m", "2026-02-28 12:00 +0000"},
		{"UTC", "2024-03-31 12:00 +0000", "1m", "2024-02-29 12:00 +0000"},
		{"UTC", "2024-02-29 12:00 +0000", "1y", "2023-02-28 12:00 +0000"},
		{"UTC", "2024-02-29 12:00 +0000", "4y", "2020-02-29 12:00 +0000"},
		{"UTC", "2026-05-31 12:00 +0000", "1m1d", "2026-04-29 12:00 +0000"},
		{"UTC", "2026-12-31 12:00 +0000", "1m", "2026-11-30 12:00 +0000"},
		// The calendar, not multiples of 24 hours: 23 and 25 of them here.
		{"Europe/Berlin", "2026-03-29 12:00 +0200", "1d", "2026-03-28 12:00 +0100"},
		{"Europe/Berlin", "2026-10-25 12:00 +0100", "1d", "2026-10-24 12:00 +0200"},
		{"Europe/Berlin", "2026-11-21 02:30 +0100", "6m", "2026-05-21 02:30 +0200"},
		{"America/New_York", "2026-11-01 12:00 -0500", "1w", "2026-10-25 12:00 -0400"},
		{"Australia/Lord_Howe", "2026-04-05 12:00 +1030", "1d", "2026-04-04 12:00 +1100"},
		// The span of hours is exact, also out of the second pass of the repeated hour.
		{"Europe/Berlin", "2026-10-25 02:30 +0100", "1h", "2026-10-25 02:30 +0200"},
		{"Europe/Berlin", "2026-10-25 02:30 +0200", "1h", "2026-10-25 01:30 +0200"},
		{"Europe/Berlin", "2026-10-25 12:00 +0100", "24h", "2026-10-24 13:00 +0200"},
		{"Europe/Berlin", "2026-03-29 12:00 +0200", "24h", "2026-03-28 11:00 +0100"},
	} {
		from, err := time.ParseInLocation(layout, tc.from, zone(t, tc.zone))
		if err != nil {
			t.Fatal(err)
		}
		from = from.In(zone(t, tc.zone))
		var s Span
		if err := s.UnmarshalFlag(tc.span); err != nil {
			t.Fatal(err)
		}
		if got := s.Before(from).Format(layout); got != tc.want {
			t.Errorf("%s before %s in %s: got %s, want %s", tc.span, tc.from, tc.zone, got, tc.want)
		}
	}
}

// The start of "within" moves on with the newest archive, never back, or what was removed would
// be wanted again; and a longer span starts no later.
func TestSpanBeforeMonotone(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"1d", "1w", "1m", "2m", "1y", "11m", "1y1m1w1d", "48h", "30d"} {
		var s Span
		if err := s.UnmarshalFlag(text); err != nil {
			t.Fatal(err)
		}
		last := time.Time{}
		for at := date(2023, 1, 1, 12, 0, 0); at.Year() < 2029; at = at.AddDate(0, 0, 1) {
			got := s.Before(at)
			if got.Before(last) {
				t.Fatalf("%s before %v: got %v, want no earlier than %v, that of the day before", text, at, got, last)
			}
			last = got
			for _, longer := range []Span{{s.Years + 1, s.Months, s.Weeks, s.Days, s.Hours}, {s.Years, s.Months + 1, s.Weeks, s.Days, s.Hours},
				{s.Years, s.Months, s.Weeks + 1, s.Days, s.Hours}, {s.Years, s.Months, s.Weeks, s.Days + 1, s.Hours}, {s.Years, s.Months, s.Weeks, s.Days, s.Hours + 1}} {
				if !longer.Before(at).Before(got) {
					t.Fatalf("%s before %v: got %v, want earlier than %v, that of %s", longer, at, longer.Before(at), got, s)
				}
			}
		}
	}
}

func FuzzSpan(f *testing.F) {
	for _, s := range []string{"36h", "2y6m10d", "8w", "0d", "", "1d1d", "99999y99999m99999w99999d99999h", "100000h", "-1d", "1.5h", "1é"} {
		f.Add(s, int64(1795228200))
	}
	f.Fuzz(func(t *testing.T, text string, unix int64) {
		var s Span
		if err := s.UnmarshalFlag(text); err != nil {
			if !s.IsZero() {
				t.Errorf("Span %q: got %+v beside %v", text, s, err)
			}
			return
		}
		back, err := s.MarshalFlag()
		var again Span
		if err2 := again.UnmarshalFlag(back); err != nil || err2 != nil || again != s {
			t.Errorf("Span %q: got %+v by way of %q, want %+v (%v, %v)", text, again, back, s, err, err2)
		}
		at := time.Unix(unix&0x3fffffffff, 0).UTC() // to the year 10680
		if got := s.Before(at); got.After(at) || (!s.IsZero() && !got.Before(at)) {
			t.Errorf("%s before %v: got %v", s, at, got)
		}
	})
}
