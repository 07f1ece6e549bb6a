package tinybackup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tinybackup/internal/zones"
)

// zoneinfo is where the files of time zones are, below some directory.
const zoneinfo = "/zoneinfo/"

// UseZone has all times of this process be those of TZ on a machine without time
// zones, too, where Go takes any TZ for UTC. It sets time.Local: call it first.
func UseZone() {
	tz := strings.TrimPrefix(os.Getenv("TZ"), ":")
	if _, err := time.LoadLocation(tz); err == nil {
		return
	}
	if zone, known := knownZone(tz); known {
		time.Local = zone
	}
}

// localZone is the time zone of this process with its real name, for a job to
// remember: time.Local is called "Local" wherever it is.
func localZone() *time.Location {
	if tz, found := os.LookupEnv("TZ"); found {
		return zoneNamed(strings.TrimPrefix(tz, ":"))
	}
	return machineZone()
}

// machineZone is the zone of the machine, which is the one that cron goes by,
// whatever TZ is in the environment of whoever edits the crontab.
func machineZone() *time.Location {
	if target, err := filepath.EvalSymlinks("/etc/localtime"); err == nil {
		if _, name, found := strings.Cut(target, zoneinfo); found {
			if zone, err := zones.Load(name); err == nil {
				return zone
			}
		}
		if data, err := os.ReadFile(target); err == nil {
			if zone, err := time.LoadLocationFromTZData("Local", data); err == nil {
				return zone
			}
		}
	}
	return time.UTC
}

// zoneNamed is the zone that TZ names, as the C library and Go read it: a name, a
// file, or nothing, which is UTC; also UTC is what neither of them knows.
func zoneNamed(name string) *time.Location {
	zone, _ := knownZone(name)
	return zone
}

// knownZone also says whether the name is one of a time zone.
func knownZone(name string) (*time.Location, bool) {
	if name == "" {
		return time.UTC, true
	}
	if filepath.IsAbs(name) {
		if _, short, found := strings.Cut(name, zoneinfo); found {
			name = short
		} else if data, err := os.ReadFile(name); err == nil {
			if zone, err := time.LoadLocationFromTZData(name, data); err == nil {
				return zone, true
			}
		}
	}
	if zone, err := zones.Load(name); err == nil {
		return zone, true
	}
	return time.UTC, false
}

// zoneNotes warn of a TZ that is taken for UTC, and was not meant to be.
func (e Env) zoneNotes() []string {
	if e.Zone != nil {
		return nil
	}
	return zoneNotes(os.Getenv("TZ"))
}

func zoneNotes(tz string) []string {
	if _, known := knownZone(strings.TrimPrefix(tz, ":")); known {
		return nil
	}
	return []string{fmt.Sprintf("TZ is %q, which names no time zone that is known here: the times are those of UTC.", tz)}
}

// sameZone says whether two zones show the same time all through the two years
// after from. Names do not tell: UTC, Etc/UTC and Zulu are one.
func sameZone(a, b *time.Location, from time.Time) bool {
	for h := 0; h < 2*366*24; h += 6 {
		t := from.Add(time.Duration(h) * time.Hour)
		_, x := t.In(a).Zone()
		_, y := t.In(b).Zone()
		if x != y {
			return false
		}
	}
	return true
}

// formatAnchor writes the time of an install so that parseAnchor reads the same
// instant in the same zone.
func formatAnchor(t time.Time) string {
	return t.Format(time.RFC3339Nano) + " " + t.Location().String()
}

// parseAnchor reads what formatAnchor wrote. A zone that has no name there, or
// none that this machine knows, is the machine's own if that agrees.
func parseAnchor(text string) (time.Time, error) {
	stamp, name, _ := strings.Cut(text, " ")
	t, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is not a time such as 2026-11-21T09:07:00+01:00 Europe/Berlin", text)
	}
	if name != "" && name != "Local" {
		if zone := zoneNamed(name); zone != time.UTC || name == "UTC" {
			return t.In(zone), nil
		}
	}
	_, want := t.Zone()
	if local := t.In(machineZone()); offset(local) == want {
		return local, nil
	}
	return time.Time{}, fmt.Errorf("this machine does not know the time zone %q", name)
}

// offset is how many seconds t's zone is then east of Greenwich.
func offset(t time.Time) int {
	_, seconds := t.Zone()
	return seconds
}
