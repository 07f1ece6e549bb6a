package tinybackup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"tinybackup/internal/archive"
	"tinybackup/internal/rotate"
	"tinybackup/internal/store"
)

// holdSuffix marks an archive that rotation leaves alone: an empty file of its
// name and this suffix beside the manifests, which a person makes with touch(1).
const holdSuffix = ".hold"

// openStore opens a destination.
func openStore(dest string) (*store.Local, error) { return store.OpenLocal(dest) }

// stored is an archive of a destination, and what is remembered of it.
type stored struct {
	store.Object
	name     rotate.Name
	manifest *archive.Manifest // nil: none, or one that can't be trusted
	doubt    error             // why it can't be trusted
	held     bool
}

// listStored lists the archives of a destination, newest first: those called
// series, or all if that is empty. The listing of the destination is the truth:
// a manifest only says more about what is there.
func listStored(ctx context.Context, st store.Store, series string) ([]stored, error) {
	objects, err := st.List(ctx)
	if err != nil {
		return nil, err
	}
	sides, err := st.ListSide(ctx)
	if err != nil {
		return nil, err
	}
	var all []stored
	for _, o := range objects {
		name, ok := rotate.ParseName(o.Name)
		if !ok || series != "" && name.Series != series {
			continue
		}
		a := stored{Object: o, name: name}
		_, a.held = slices.BinarySearch(sides, o.Name+holdSuffix)
		a.manifest, a.doubt = readManifest(ctx, st, o)
		all = append(all, a)
	}
	sortStored(all)
	return all, nil
}

// sortStored sorts archives by their names' series, the newest of each first.
func sortStored(all []stored) {
	slices.SortFunc(all, func(a, b stored) int {
		return cmp.Or(cmp.Compare(a.name.Series, b.name.Series), b.name.Time.Compare(a.name.Time), cmp.Compare(a.Name, b.Name))
	})
}

// readManifest reads the manifest of an archive. No manifest is no error.
func readManifest(ctx context.Context, st store.Store, o store.Object) (*archive.Manifest, error) {
	data, err := st.ReadSide(ctx, archive.SideName(o.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m, err := archive.ReadManifest(data)
	switch {
	case err != nil:
		return nil, err
	case m.Archive != o.Name:
		return nil, fmt.Errorf("manifest: it is that of %q", m.Archive)
	case m.Size != o.Size:
		return nil, fmt.Errorf("manifest: it tells of %d bytes, the archive has %d", m.Size, o.Size)
	}
	return m, nil
}

// item is the archive as rotation sees it. Without a manifest it counts as
// complete: a name in the destination is given to complete archives only.
func (a stored) item() rotate.Item {
	return rotate.Item{Name: a.name, Size: a.Size, Held: a.held, Incomplete: a.manifest != nil && a.manifest.Incomplete}
}

func items(all []stored) []rotate.Item {
	out := make([]rotate.Item, len(all))
	for i, a := range all {
		out[i] = a.item()
	}
	return out
}

// newestKnown is the newest archive that has a manifest, or nil.
func newestKnown(all []stored) *archive.Manifest {
	for _, a := range all {
		if a.manifest != nil {
			return a.manifest
		}
	}
	return nil
}

// checkOwner refuses to put archives of one source among those of another: they
// would rotate each other away. A job keeps its archives when the machine is
// given another name, or its source is edited.
func checkOwner(all []stored, o Options, jobID, host string) error {
	m := newestKnown(all)
	if m == nil || m.Job != "" && m.Job == jobID || m.Host == host && m.Source == o.Source {
		return nil
	}
	return &UsageError{
		Msg:  fmt.Sprintf("destination %q already has archives called %q, of %s on %s", o.Dest, o.Name, m.Source, m.Host),
		Hint: "give these another name with --name NAME, or another destination",
	}
}

// decide asks the policy which archives stay.
func decide(all []stored, o Options, now time.Time) rotate.Decision {
	return rotate.Plan(items(all), o.Policy(), rotate.PlanOptions{Zone: now.Location(), Now: now, AllowMany: o.Yes})
}

// remove takes archives away, oldest first: for each its line in SHA256SUMS,
// then itself, then its map of blocks and what is remembered of it, so that whatever stops this in
// between leaves no line about a file that is not there. It goes on after an
// error with the next one.
func remove(ctx context.Context, st store.Store, gone []rotate.Item) (removed []string, err error) {
	for _, it := range gone {
		name := it.Name.String()
		e := st.SetSums(ctx, nil, []string{name})
		if e == nil {
			e = st.Remove(ctx, name)
		}
		if e == nil || errors.Is(e, fs.ErrNotExist) {
			removed = append(removed, name)
			e = st.RemoveSide(ctx, archive.SideName(name))
			if it.Name.Kind == rotate.KindDevice {
				e = errors.Join(ignoreMissing(e), ignoreMissing(st.Remove(ctx, name+bmapSuffix)))
			}
		}
		if e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("remove archive %q: %w", name, e))
		}
	}
	return removed, err
}

// mend puts right what killed runs of the series left: partial files,
// manifests and maps of archives that never were, and a SHA256SUMS that lacks an
// archive or tells of one that is gone. Call it under the lock of the series.
func mend(ctx context.Context, st store.Store, series string, all []stored) ([]string, error) {
	ours := func(name string) bool {
		n, ok := rotate.ParseName(strings.TrimSuffix(strings.TrimSuffix(name, archive.SideName("")), bmapSuffix))
		return ok && n.Series == series
	}
	swept, err := st.Sweep(ctx, ours)
	if err != nil {
		return swept, err
	}
	there := map[string]stored{}
	for _, a := range all {
		there[a.Name] = a
	}
	sides, err := st.ListSide(ctx)
	if err != nil {
		return swept, err
	}
	for _, side := range sides {
		name, isManifest := strings.CutSuffix(side, archive.SideName(""))
		if _, ok := there[name]; ok || !isManifest || !ours(side) {
			continue
		}
		if err := st.RemoveSide(ctx, side); err != nil {
			return swept, err
		}
		swept = append(swept, side)
	}
	maps, err := removeMaps(ctx, st, func(archive string) bool { _, ok := there[archive]; return !ok && ours(archive) })
	swept = append(swept, maps...)
	if err != nil {
		return swept, err
	}
	return swept, mendSums(ctx, st, ours, there)
}

// mendSums makes SHA256SUMS agree with the archives, as far as manifests know
// their sums.
func mendSums(ctx context.Context, st store.Store, ours func(string) bool, there map[string]stored) error {
	sums, err := st.Sums(ctx)
	if err != nil {
		return err
	}
	set := map[string]string{}
	for name, a := range there {
		if sums[name] == "" && a.manifest != nil {
			set[name] = a.manifest.SHA256
		}
	}
	var drop []string
	for name := range sums {
		if _, ok := there[name]; !ok && ours(name) {
			drop = append(drop, name)
		}
	}
	if len(set) == 0 && len(drop) == 0 {
		return nil
	}
	return st.SetSums(ctx, set, drop)
}

// hostName is what this machine is called.
func hostName() string {
	host, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return host
}
