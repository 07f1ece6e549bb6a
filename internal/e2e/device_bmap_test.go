//go:build linux

package e2e

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// blockMaps are the names of the maps in a destination.
func blockMaps(t *testing.T, dest string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dest, "*.bmap"))
	check(t, err)
	var names []string
	for _, path := range paths {
		names = append(names, filepath.Base(path))
	}
	return names
}

// TestBmap has bmaptool write a card by the map of its blocks, over somebody's data.
func TestBmap(t *testing.T) {
	t.Parallel()
	c := newCard(t)
	need(t, "bmaptool", "sha256sum")
	p := newProgram(t)
	dest := newDir(t)
	p.exits(t, 0, "run", "--bmap", "--keep", "2", "--name", "card", c.device, dest)
	first := archives(t, dest)
	if got := blockMaps(t, dest); len(got) != 1 || got[0] != first[0]+".bmap" {
		t.Fatalf("maps: got %q, want that of %q", got, first)
	}
	target := oldDisk(t, cardSize, 3)
	tool(t, "bmaptool", "copy", newest(t, dest), target)
	c.same(t, target)
	mapped, all := mapSays(t, newest(t, dest)+".bmap", "MappedBlocksCount"), mapSays(t, newest(t, dest)+".bmap", "BlocksCount")
	if all != cardSize/4096 || mapped > all*3/4 || mapped < all/20 {
		t.Errorf("%d of %d blocks are mapped", mapped, all)
	}
	var list struct{ Foreign int }
	p.json(t, &list, "list", dest)
	if list.Foreign != 0 {
		t.Errorf("list: %d files are none of ours", list.Foreign)
	}
	toolIn(t, dest, "sha256sum", "--quiet", "-c", "SHA256SUMS")
	p.exits(t, 0, "verify", dest)

	// A bit of the archive, and bmaptool says so.
	damaged := filepath.Join(newDir(t), first[0])
	b := content(t, newest(t, dest))
	b[len(b)/2] ^= 1
	check(t, os.WriteFile(damaged, b, 0o600))
	tool(t, "cp", newest(t, dest)+".bmap", damaged+".bmap")
	if command("bmaptool", "copy", damaged, target) == nil {
		t.Error("bmaptool takes an archive with another bit")
	}

	// Nothing has changed: the map is made all the same.
	p.exits(t, 0, "run", "--bmap", "--keep", "2", "--name", "card", c.device, dest)
	if names := archives(t, dest); len(names) != 2 || string(content(t, filepath.Join(dest, names[0]+".bmap"))) != string(content(t, filepath.Join(dest, names[1]+".bmap"))) {
		t.Errorf("archives %q, maps %q: want two equal maps", names, blockMaps(t, dest))
	}
	// Rotation takes the map with its archive. What killed runs left goes, too: a map
	// without an archive, and half of one. What is nobody's of ours stays.
	orphan := strings.Replace(first[0], "card-202", "card-201", 1) + ".bmap"
	half := filepath.Join(".tinybackup", first[0]+".bmap.partial")
	others := []string{"card.img.bmap", strings.Replace(orphan, "card-", "other-", 1), strings.Replace(orphan, ".img", ".tar", 1)}
	for _, name := range append(others, orphan, half) {
		write(t, filepath.Join(dest, name), "x")
	}
	p.exits(t, 0, "run", "--keep", "2", "--name", "card", c.device, dest)
	names := archives(t, dest)
	if want := append(others, names[0]+".bmap"); len(names) != 2 || slices.Contains(names, first[0]) || !slices.Equal(sorted(blockMaps(t, dest)), sorted(want)) {
		t.Errorf("archives %q, maps %q, want %q", names, blockMaps(t, dest), want)
	}
	if _, err := os.Lstat(filepath.Join(dest, half)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half a map is there: %v", err)
	}
	p.exits(t, 0, "run", "--bmap", c.tree, dest)
	if got := blockMaps(t, dest); len(got) != len(others)+1 {
		t.Errorf("of a directory: maps %q", got)
	}
}

func sorted(names []string) []string { return slices.Sorted(slices.Values(names)) }

// mapSays is what an element of a map says.
func mapSays(t *testing.T, path, element string) int {
	t.Helper()
	found := regexp.MustCompile(`<` + element + `> (\d+) </`).FindSubmatch(content(t, path))
	if found == nil {
		t.Fatalf("%s has no %s", path, element)
	}
	n, err := strconv.Atoi(string(found[1]))
	check(t, err)
	return n
}

// TestBmapKilled kills a run that makes a map: there is none without its archive once
// the next run has been there.
func TestBmapKilled(t *testing.T) {
	t.Parallel()
	inside(t)
	p := newProgram(t)
	dest := newDir(t)
	device := smallCard(t, p, dest, "--bmap")
	run := begin(t, p.command("run", "--bmap", "--all-blocks", "--name", "card", "--compress", "xz:9", device, dest))
	waitFor(t, time.Minute, "the archive begins", func() bool { return len(partials(t, dest)) > 0 })
	check(t, run.cmd.Process.Kill())
	run.wait(t)
	p.exits(t, 0, "run", "--bmap", "--all-blocks", "--name", "card", device, dest)
	var want []string
	for _, name := range archives(t, dest) {
		want = append(want, name+".bmap")
	}
	if got := blockMaps(t, dest); !slices.Equal(got, want) || len(partials(t, dest)) > 0 {
		t.Errorf("maps %q, want %q; left %q", got, want, partials(t, dest))
	}
}
