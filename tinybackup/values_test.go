package tinybackup

import (
	"math"
	"testing"
	"time"
)

func TestSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Size{
		"0": 0, "512": 512, "512B": 512, "64K": 64 << 10, "64k": 64 << 10, "64KiB": 64 << 10, "1kB": 1000,
		"4MiB": 4 << 20, "4M": 4 << 20, "1GB": 1e9, "2T": 2 << 40, "8388607TiB": 8388607 << 40,
	} {
		var got Size
		if err := got.UnmarshalFlag(text); err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", text, got, err, want)
		}
		back, err := want.MarshalFlag()
		if err != nil {
			t.Errorf("%d: %v", want, err)
		}
		if err := got.UnmarshalFlag(back); err != nil || got != want {
			t.Errorf("%d is written %q, which is read as %d, %v", want, back, got, err)
		}
	}
	for _, text := range []string{"", "M", "-1", "+1", "1.5M", "1 M", "1m", "4mib", "1KiBB", "9223372036854775808", "9223372036854775807K", "8388608TiB", "0x10", "1_0"} {
		got := Size(7)
		if err := got.UnmarshalFlag(text); err == nil || got != 7 {
			t.Errorf("%q: got %d, %v, want an error and nothing changed", text, got, err)
		}
	}
	for size, want := range map[Size]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 4 << 20: "4.0 MiB", math.MaxInt64: "8388608.0 TiB"} {
		if got := size.String(); got != want {
			t.Errorf("%d for a person: got %q, want %q", size, got, want)
		}
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"0": 0, "90s": 90 * time.Second, "10m": 10 * time.Minute, "36h": 36 * time.Hour, "30d": 720 * time.Hour,
		"2w": 336 * time.Hour, "1h30m": 90 * time.Minute, "250ms": 250 * time.Millisecond, "0s": 0,
	} {
		var got Duration
		if err := got.UnmarshalFlag(text); err != nil || time.Duration(got) != want {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
		if err := got.UnmarshalFlag(Duration(want).String()); err != nil || time.Duration(got) != want {
			t.Errorf("%v is written %q, which is read as %v, %v", want, Duration(want), time.Duration(got), err)
		}
	}
	for _, text := range []string{"", "10", "-1s", "1.5h", "1h 30m", "h", "1y", "1hm", "1H", "1ww", "99999999999w", "9223372036854775808s", "106751d106751d"} {
		got := Duration(7)
		if err := got.UnmarshalFlag(text); err == nil || got != 7 {
			t.Errorf("%q: got %v, %v, want an error and nothing changed", text, time.Duration(got), err)
		}
	}
}

func TestCompression(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Compression{
		"zstd": {"zstd", 0}, "zstd:22": {"zstd", 22}, "xz:9": {"xz", 9}, "gzip:1": {"gzip", 1}, "none": {"none", 0},
	} {
		var got Compression
		if err := got.UnmarshalFlag(text); err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
		if got := want.String(); got != text {
			t.Errorf("%v is written %q, want %q", want, got, text)
		}
	}
	for _, text := range []string{"", "lz4", "ZSTD", "zstd:", "zstd:0", "zstd:23", "xz:10", "gzip:-1", "gzip:01", "none:1", "zstd:3:4", ":3", "xz:+6"} {
		got := Compression{"kept", 1}
		if err := got.UnmarshalFlag(text); err == nil || got.Codec != "kept" {
			t.Errorf("%q: got %v, %v, want an error and nothing changed", text, got, err)
		}
	}
}

// What is written is read as the same, whatever the value.
func FuzzValues(f *testing.F) {
	f.Add("64KiB")
	f.Add("1h30m")
	f.Add("xz:6")
	f.Add("99999999999999999999w1s")
	f.Fuzz(func(t *testing.T, text string) {
		var size, sizeAgain Size
		if size.UnmarshalFlag(text) == nil {
			back, err := size.MarshalFlag()
			if err != nil || sizeAgain.UnmarshalFlag(back) != nil || size != sizeAgain || size < 0 {
				t.Errorf("size %q: %d is written %q, read as %d", text, size, back, sizeAgain)
			}
		}
		var d, dAgain Duration
		if d.UnmarshalFlag(text) == nil {
			if dAgain.UnmarshalFlag(d.String()) != nil || d != dAgain || d < 0 {
				t.Errorf("time %q: %d is written %q, read as %d", text, d, d.String(), dAgain)
			}
		}
		var c, cAgain Compression
		if c.UnmarshalFlag(text) == nil {
			if cAgain.UnmarshalFlag(c.String()) != nil || c != cAgain {
				t.Errorf("compression %q: %v is written %q, read as %v", text, c, c.String(), cAgain)
			}
		}
	})
}
