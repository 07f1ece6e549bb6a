package zones

import (
	"testing"
	"time"
	_ "time/tzdata" // what is compared with, also where the machine has none
)

// What is in here shows the same times as the zones that everybody has.
func TestLoad(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "Africa/Casablanca", "UTC", "Etc/GMT+12"} {
		got, found := load(name)
		want, err := time.LoadLocation(name)
		if !found || err != nil || got.String() != name {
			t.Fatalf("%s: got %v, %v, %v", name, got, found, err)
		}
		for at := time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC); at.Year() < 2025; at = at.Add(25 * time.Hour) {
			if g, w := at.In(got).Format(time.RFC1123Z), at.In(want).Format(time.RFC1123Z); g != w {
				t.Fatalf("%s: got %s, want %s", name, g, w)
			}
		}
	}
	for _, name := range []string{"Europe/Berln", "Europe", "../UTC", "europe/berlin", ""} {
		if got, found := load(name); found {
			t.Errorf("%q: got %v", name, got)
		}
	}
	if _, err := Load("Europe/Berln"); err == nil {
		t.Error("no error for what is no zone")
	}
}
