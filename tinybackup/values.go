package tinybackup

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// A Size is a number of bytes, written with a unit: 512, 64KiB or 64K, 4MiB, 1GB.
type Size int64

// The units of a Size. One letter means the binary unit, as it does for dd(1).
var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"T", 1 << 40}, {"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}, {"k", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"KB", 1e3},
	{"B", 1}, {"", 1},
}

// UnmarshalFlag reads a size from the command line or a job's file.
func (s *Size) UnmarshalFlag(text string) error {
	digits := leadingDigits(text)
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return fmt.Errorf("%q is not a size such as 64KiB, 4MiB or 1GB", text)
	}
	for _, unit := range sizeUnits {
		if unit.name != text[len(digits):] {
			continue
		}
		if n > math.MaxInt64/unit.bytes {
			return fmt.Errorf("size %q is too large", text)
		}
		*s = Size(n * unit.bytes)
		return nil
	}
	return fmt.Errorf("%q is not a size such as 64KiB, 4MiB or 1GB", text)
}

// MarshalFlag writes the size exactly, in the largest unit that divides it.
func (s Size) MarshalFlag() (string, error) {
	for _, unit := range sizeUnits[:4] {
		if s != 0 && int64(s)%unit.bytes == 0 {
			return strconv.FormatInt(int64(s)/unit.bytes, 10) + unit.name, nil
		}
	}
	return strconv.FormatInt(int64(s), 10), nil
}

// String is the size for a person: rounded, in binary units.
func (s Size) String() string {
	for _, unit := range sizeUnits[:4] {
		if int64(s) >= unit.bytes {
			return strconv.FormatFloat(float64(s)/float64(unit.bytes), 'f', 1, 64) + " " + unit.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + " B"
}

// A Duration is a length of time, written with units: 90s, 10m, 36h, 30d, 2w,
// 1h30m. A day is 24 hours.
type Duration time.Duration

// The units of a Duration, longest first, as MarshalFlag writes them.
var durationUnits = []struct {
	name string
	time time.Duration
}{
	{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}, {"h", time.Hour},
	{"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond},
}

// UnmarshalFlag reads a duration from the command line or a job's file.
func (d *Duration) UnmarshalFlag(text string) error {
	bad := fmt.Errorf("%q is not a time such as 90s, 10m, 36h or 30d", text)
	if text == "0" {
		*d = 0
		return nil
	}
	if text == "" {
		return bad
	}
	var sum time.Duration
	for rest := text; rest != ""; {
		digits := leadingDigits(rest)
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			return bad
		}
		rest = rest[len(digits):]
		name := rest[:len(rest)-len(strings.TrimLeft(rest, "wdhms"))]
		rest = rest[len(name):]
		unit := time.Duration(0)
		for _, u := range durationUnits {
			if u.name == name {
				unit = u.time
			}
		}
		if unit == 0 {
			return bad
		}
		if n > int64(math.MaxInt64-sum)/int64(unit) {
			return fmt.Errorf("time %q is too long", text)
		}
		sum += time.Duration(n) * unit
	}
	*d = Duration(sum)
	return nil
}

// MarshalFlag writes the duration so that UnmarshalFlag reads the same, to the
// millisecond.
func (d Duration) MarshalFlag() (string, error) {
	if d < 0 {
		return "", fmt.Errorf("negative time %v", time.Duration(d))
	}
	var b strings.Builder
	rest := time.Duration(d)
	for _, unit := range durationUnits {
		if n := rest / unit.time; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, unit.name)
			rest -= n * unit.time
		}
	}
	if b.Len() == 0 {
		return "0", nil
	}
	return b.String(), nil
}

// String is MarshalFlag's text.
func (d Duration) String() string {
	text, err := d.MarshalFlag()
	if err != nil {
		return time.Duration(d).String()
	}
	return text
}

// A Limit is how long something may take, written like a Duration, or Never. Zero is
// the default of the option.
type Limit time.Duration

// Never is no limit.
const Never Limit = -1

// UnmarshalFlag reads a time, or "never" or 0 for no limit.
func (l *Limit) UnmarshalFlag(text string) error {
	var d Duration
	if text != "never" {
		if err := d.UnmarshalFlag(text); err != nil {
			return err
		}
	}
	*l = Limit(d)
	if d == 0 {
		*l = Never
	}
	return nil
}

// MarshalFlag writes what UnmarshalFlag reads.
func (l Limit) MarshalFlag() (string, error) {
	if l == Never {
		return "never", nil
	}
	return Duration(l).MarshalFlag()
}

// or is the limit as a length of time: that of std if it is zero, and 0 if there is
// none.
func (l Limit) or(std Limit) time.Duration {
	if l == 0 {
		l = std
	}
	return time.Duration(max(l, 0))
}

// A Compression is a codec and how hard it tries.
type Compression struct {
	Codec string // "zstd", "xz", "gzip" or "none"; empty: zstd
	Level int    // of the codec; 0: its default
}

// The codecs and the highest level of each.
var codecs = []struct {
	name string
	max  int
}{{"zstd", 22}, {"xz", 9}, {"gzip", 9}, {"none", 0}}

// UnmarshalFlag reads CODEC or CODEC:LEVEL.
func (c *Compression) UnmarshalFlag(text string) error {
	name, level, found := strings.Cut(text, ":")
	for _, codec := range codecs {
		if codec.name != name {
			continue
		}
		if !found {
			*c = Compression{Codec: name}
			return nil
		}
		if codec.max == 0 {
			return fmt.Errorf("compression %q: %s has no levels", text, name)
		}
		n, err := strconv.Atoi(level)
		if err != nil || n < 1 || n > codec.max || level != strconv.Itoa(n) {
			return fmt.Errorf("compression %q: the levels of %s are 1 to %d", text, name, codec.max)
		}
		*c = Compression{Codec: name, Level: n}
		return nil
	}
	return fmt.Errorf("compression %q is none of zstd, xz, gzip, none", text)
}

// MarshalFlag writes what UnmarshalFlag reads.
func (c Compression) MarshalFlag() (string, error) {
	if c.Level == 0 {
		return c.Codec, nil
	}
	return c.Codec + ":" + strconv.Itoa(c.Level), nil
}

// String is MarshalFlag's text.
func (c Compression) String() string {
	text, _ := c.MarshalFlag() // never fails
	return text
}

// leadingDigits is the part of s before its first byte that is no digit.
func leadingDigits(s string) string {
	return s[:len(s)-len(strings.TrimLeft(s, "0123456789"))]
}
