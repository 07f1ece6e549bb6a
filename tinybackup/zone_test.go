package tinybackup

import (
	"strings"
	"testing"
)

// A zone that is taken for UTC, and was not meant to be, is told of.
func TestZoneNotes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		tz    string
		noted bool
	}{
		{"", false},
		{"UTC", false},
		{"Europe/Berlin", false},
		{":Europe/Berlin", false},
		{"/usr/share/zoneinfo/Europe/Berlin", false},
		{"Europe/Berln", true},
		{"CET-1CEST", true},
		{"/nowhere/Berlin", true},
	} {
		notes := strings.Join(zoneNotes(c.tz), " ")
		if (notes != "") != c.noted || c.noted && !strings.Contains(notes, c.tz) {
			t.Errorf("TZ=%s: got %q", c.tz, notes)
		}
	}
}
