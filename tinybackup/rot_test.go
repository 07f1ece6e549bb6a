package tinybackup

import (
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tinybackup/internal/archive"
	"tinybackup/internal/rotate"
	"tinybackup/internal/store"
)

// contents are the regular files below dir, by path.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		all[rel] = string(data)
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return all
}

// A rotBench is a destination with two archives, of which one bit at a time rots.
type rotBench struct {
	*bench
	random   *rand.Rand
	edit     func(*Options)
	newest   string
	pristine map[string]string // the destination
	now      time.Time
}

func newRotBench(t *testing.T, codec string, seed uint64) *rotBench {
	b := &rotBench{bench: newLateBench(t), random: rand.New(rand.NewPCG(seed, 6))}
	b.edit = func(o *Options) {
		o.Compress.Codec, o.BlockSize = codec, 64<<10
	}
	for i := range 12 {
		noise := make([]byte, b.random.IntN(20_000))
		for j := range noise {
			noise[j] = "abcdefgh\x00"[b.random.IntN(9)]
		}
		b.write(fmt.Sprintf("d%d/f%d", i%3, i), strings.Repeat("text ", b.random.IntN(2000))+string(noise))
	}
	b.good(b.edit)
	b.write("d1/more", "more")
	b.newest = b.good(b.edit).Archive
	b.pristine, b.now = contents(t, b.dst), b.clock
	return b
}

// reset makes the destination what it was before anything rotted.
func (b *rotBench) reset() {
	b.t.Helper()
	b.clock = b.now
	if err := os.RemoveAll(b.dst); err != nil {
		b.t.Fatal(err)
	}
	b.mkdir(filepath.Join(b.dst, store.SideDir))
	for name, text := range b.pristine {
		if err := os.WriteFile(filepath.Join(b.dst, name), []byte(text), 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
}

// flip turns one bit of a file of the destination over, and says which.
func (b *rotBench) flip(name string) string {
	b.t.Helper()
	data := []byte(b.pristine[name])
	bit := b.random.IntN(8 * len(data))
	data[bit/8] ^= 1 << (bit % 8)
	if err := os.WriteFile(filepath.Join(b.dst, name), data, 0o600); err != nil {
		b.t.Fatal(err)
	}
	return fmt.Sprintf("bit %d of byte %d of %s", bit%8, bit/8, name)
}

// damage does worse to the newest archive than to turn a bit over, and says what.
func (b *rotBench) damage(how int) string {
	b.t.Helper()
	data := []byte(b.pristine[b.newest])
	at := b.random.IntN(len(data))
	what := ""
	switch how % 5 {
	case 0:
		what, data = fmt.Sprintf("cut at byte %d", at), data[:at]
	case 1:
		what, data = "garbage behind it", append(data, "garbage"...)
	case 2:
		what, data = "itself once more behind it", append(data, data...)
	case 3:
		what = fmt.Sprintf("lost from byte %d on", at)
		for i := range data[at:min(at+4096, len(data))] {
			data[at+i] ^= 0x5a
		}
	case 4:
		what = fmt.Sprintf("a piece moved to byte %d", at)
		data = append(append(slices.Clone(data[:at]), "moved"...), data[at:]...)
	}
	if err := os.WriteFile(filepath.Join(b.dst, b.newest), data, 0o600); err != nil {
		b.t.Fatal(err)
	}
	if how%2 == 0 { // and the manifest, which would have told, is lost
		if err := os.Remove(filepath.Join(b.dst, store.SideDir, archive.SideName(b.newest))); err != nil {
			b.t.Fatal(err)
		}
		what += ", without its manifest"
	}
	return what
}

// restored restores an archive and compares what came out with the source: every
// file that is there is right, and without an error all of them are there. Without a
// manifest of that size, some checksums come behind the data: then an error tells.
func (b *rotBench) restored(what, name string) error {
	b.t.Helper()
	target := filepath.Join(filepath.Dir(b.dst), "restored")
	if err := os.RemoveAll(target); err != nil {
		b.t.Fatal(err)
	}
	r, err := Restore(b.t.Context(), b.env, RestoreOptions{From: filepath.Join(b.dst, name), Target: target})
	want, got := contents(b.t, b.src), contents(b.t, target)
	if err == nil && r.WarningCount == 0 && len(got) != len(want) {
		b.t.Errorf("%s: restored without a word: %q, want %q", what, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
	info, statErr := os.Stat(filepath.Join(b.dst, name))
	known := b.manifestOf(name) && statErr == nil && (name != b.newest || info.Size() == int64(len(b.pristine[name])))
	for path, text := range got {
		if was, ok := want[path]; (!ok || was != text) && (known || err == nil) {
			b.t.Errorf("%s: restored %q with other bytes than the source has (error: %v)", what, path, err)
		}
	}
	return err
}

// Whatever bit rots: verify finds it, restore writes no wrong bytes, and the next
// run does not take them over.
func TestBitRot(t *testing.T) {
	inMemory(t)
	flips, found := 0, 0
	for seed, codec := range []string{"zstd", "xz", "gzip", "none"} {
		b := newRotBench(t, codec, uint64(seed))
		manifest := filepath.Join(store.SideDir, archive.SideName(b.newest))
		for i := range times(18, 1500) {
			b.reset()
			b.write("d1/more", "more")
			kind := i % 6
			name := b.newest
			switch kind {
			case 4:
				name = manifest
			case 5:
				name = "SHA256SUMS"
			}
			what := codec + ": " + b.flip(name)
			flips++
			if b.verified(what) {
				found++
			} else if kind != 5 {
				t.Errorf("%s: verify does not find it", what)
			}
			if err := b.restored(what, b.newest); (err != nil) != (kind < 4) {
				t.Errorf("%s: restore: %v", what, err)
			}
			b.write("d1/more", fmt.Sprint("changed ", i)) // in part reused
			b.again(what)
		}
	}
	t.Logf("%d flips of bits, of which verify told of %d; none restored wrong, none copied", flips, found)
}

// Worse than bits: an archive that is cut, grown, or overwritten, with its manifest and
// without. An archive without compression has no checksums of its own then, and only
// SHA256SUMS knows.
func TestDamage(t *testing.T) {
	inMemory(t)
	n := 0
	for seed, codec := range []string{"zstd", "xz", "gzip", "none"} {
		b := newRotBench(t, codec, uint64(100+seed))
		for i := range times(10, 1000) {
			b.reset()
			b.write("d1/more", "more")
			what := codec + ": " + b.damage(i)
			n++
			if !b.verified(what) {
				t.Errorf("%s: verify does not find it", what)
			}
			if err := b.restored(what, b.newest); err == nil {
				t.Errorf("%s: restored without an error", what)
			}
			b.write("d1/more", fmt.Sprint("changed ", i))
			b.again(what)
		}
	}
	t.Logf("%d archives cut, grown or overwritten; each was found, and none was restored wrong", n)
}

// verified says whether verify finds something wrong with the destination.
func (b *rotBench) verified(what string) bool {
	b.t.Helper()
	v, err := Verify(b.t.Context(), b.env, VerifyOptions{From: b.dst})
	if err != nil {
		b.t.Errorf("%s: verify: %v", what, err)
	}
	return v.Bad() > 0
}

// again backs up into the rotten destination: the new archive is exactly the
// source, and is in SHA256SUMS, as is the one before.
func (b *rotBench) again(what string) {
	b.t.Helper()
	r, err := b.run(b.edit)
	if err != nil {
		b.t.Errorf("%s: the next run: %v", what, err)
		return
	}
	if err := b.restored(what+", in the next archive", r.Archive); err != nil {
		b.t.Errorf("%s: restore of the next archive: %v", what, err)
	}
	v, err := Verify(b.t.Context(), b.env, VerifyOptions{From: filepath.Join(b.dst, r.Archive)})
	if err != nil || v.Bad() > 0 {
		b.t.Errorf("%s: verify of the next archive: %v, %+v", what, err, v)
	}
	st, err := store.OpenLocal(b.dst)
	if err != nil {
		b.t.Fatal(err)
	}
	sums, err := st.Sums(b.t.Context())
	if err != nil || sums[r.Archive] != r.SHA256 || len(sums[b.newest]) != 64 && b.manifestOf(b.newest) {
		b.t.Errorf("%s: SHA256SUMS after the next run: %v, %q", what, err, sums)
	}
}

// manifestOf says whether the manifest of an archive is there.
func (b *rotBench) manifestOf(name string) bool {
	return exists(filepath.Join(b.dst, store.SideDir, archive.SideName(name)))
}

// An archive that rotted is the newest, and nothing has changed: the new one may be
// another name of it, but good ones stay, and nothing wrong is restored.
func TestBitRotUnchanged(t *testing.T) {
	inMemory(t)
	b := newRotBench(t, "zstd", 7)
	for i := range times(20, 500) {
		b.reset()
		what, keep := b.flip(b.newest), rotate.Count(1+i%2)
		for range 3 {
			r, err := b.run(func(o *Options) { b.edit(o); o.Keep = keep })
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			b.restored(what, r.Archive)
		}
		good := 0
		for _, name := range b.archives() {
			if v, err := Verify(t.Context(), b.env, VerifyOptions{From: filepath.Join(b.dst, name)}); err == nil && v.Bad() == 0 {
				good++
			}
		}
		if good == 0 {
			t.Errorf("%s: no good archive is left", what)
		}
	}
}

// A slots.json or a history that rotted costs a backup too many at worst: the next
// slot is owed, whatever bit it was.
func TestBitRotSlots(t *testing.T) {
	inMemory(t)
	dirs := testDirs(t)
	j := testJob(t, dirs, "00000001")
	j.Time = "2:30"
	j.Installed = time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	spec, err := j.Spec()
	if err != nil {
		t.Fatal(err)
	}
	slot := time.Date(2026, 11, 21, 2, 30, 0, 0, time.UTC)
	book := slotBook{Settled: slot, Dest: j.Options.Dest, Archive: "notes-20261121T023001Z.tar.zst"}
	failed := book
	failed.Settled, failed.Slot, failed.Tries, failed.Tried = slot.AddDate(0, 0, -1), slot, 2, slot.Add(6*time.Minute)
	failed.FailingSince, failed.FailedSlots, failed.Told = slot, 1, ChangeFailed
	entry := HistoryEntry{Slot: slot, Start: slot, End: slot.Add(time.Minute), Result: ResultOK, Archive: book.Archive}
	if err := j.History().Append(entry); err != nil {
		t.Fatal(err)
	}
	next := slot.AddDate(0, 0, 1)
	check := func(what string) {
		t.Helper()
		got, err := j.slots()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if turn := j.owed(spec, got, next.Add(time.Second)); !turn.Slot.Equal(next) {
			t.Errorf("%s: the next slot is not owed: %+v, book %+v", what, turn, got)
		}
		if _, err := j.History().Last(-1); err != nil {
			t.Errorf("%s: history: %v", what, err)
		}
	}
	flips := 0
	for _, book := range []slotBook{book, failed} {
		if err := j.writeSlots(book); err != nil {
			t.Fatal(err)
		}
		if got, err := j.slots(); err != nil || got != book.in(j.Installed.Location()) {
			t.Errorf("written and read: %v, %+v, want %+v", err, got, book)
		}
		for _, path := range []string{j.slotsPath(), j.History().path()} {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for bit := range 8 * len(text) {
				rotten := slices.Clone(text)
				rotten[bit/8] ^= 1 << (bit % 8)
				if err := os.WriteFile(path, rotten, 0o600); err != nil {
					t.Fatal(err)
				}
				check(fmt.Sprintf("bit %d of byte %d of %s (%q)", bit%8, bit/8, filepath.Base(path), rotten[max(0, bit/8-20):min(len(rotten), bit/8+20)]))
				flips++
			}
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	check("whole")
	t.Logf("%d flips of bits in slots.json and history.jsonl; the next slot was owed after each", flips)
}
