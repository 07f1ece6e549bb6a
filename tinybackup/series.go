package tinybackup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"tinybackup/internal/archive"
	"tinybackup/internal/rotate"
	"tinybackup/internal/store"
)

// holdSuffix marks an archive that rotation leaves alone: an empty file of its
// name and this suffix beside the manifests, which a person makes with touch(1).
const holdSuffix = ".hold"

// stored is an archive of a destination, and what is remembered of it.
type stored struct {
	store.Object
	name     rotate.Name
	manifest *archive.Manifest // nil: none, or one that can't be trusted
	doubt    error             // why it can't be trusted
	held     bool
}

// storedOf are those objects that are archives, newest first: those called series, or
// all if that is empty. Nothing is known of them but their names and sizes.
func storedOf(objects []store.Object, series string) []stored {
	var all []stored
	for _, o := range objects {
		if name, ok := rotate.ParseName(o.Name); ok && (series == "" || name.Series == series) {
			all = append(all, stored{Object: o, name: name})
		}
	}
	sortStored(all)
	return all
}

// listStored lists the archives of a destination, newest first: those called
// series, or all if that is empty. The listing of the destination is the truth:
// a manifest only says more about what is there. On another machine only the heads of
// manifests are read, see readHead; and none of archives that are in known, too.
func listStored(ctx context.Context, st store.Store, series string, known ...stored) ([]stored, error) {
	l, err := listDest(ctx, st)
	if err != nil {
		return nil, err
	}
	return l.stored(ctx, st, series, known...)
}

// A listing is what is in a destination.
type listing struct {
	objects []store.Object
	sides   []string // sorted
}

func listDest(ctx context.Context, st store.Store) (l listing, err error) {
	if l.objects, err = st.List(ctx); err != nil {
		return listing{}, err
	}
	l.sides, err = st.ListSide(ctx)
	return l, err
}

// stored is listStored of a listing.
func (l listing) stored(ctx context.Context, st store.Store, series string, known ...stored) ([]stored, error) {
	var err error
	all := storedOf(l.objects, series)
	old := make(map[string]stored, len(known))
	for _, a := range known {
		old[a.Name] = a
	}
	var mu sync.Mutex
	several(len(all), requestsOf(st), func(i int) {
		a := &all[i]
		_, a.held = slices.BinarySearch(l.sides, a.Name+holdSuffix)
		if was := old[a.Name]; was.manifest != nil && was.Size == a.Size {
			a.manifest = was.manifest
			return
		}
		if _, has := slices.BinarySearch(l.sides, archive.SideName(a.Name)); !has {
			return
		}
		a.manifest, a.doubt = readHead(ctx, st, a.Object)
		if unreachable(st, a.doubt) {
			mu.Lock()
			defer mu.Unlock()
			err = a.doubt
		}
	})
	return all, err
}

// headSize is how many bytes of a manifest are asked for when its frames are not needed.
const headSize = 64 << 10

// remoteRequests is how many requests are on their way to another machine at a time.
const remoteRequests = 8

// requestsOf is how many things a store is best asked for at a time.
func requestsOf(st store.Store) int {
	if isLocal(st) {
		return 1
	}
	return remoteRequests
}

// unreachable says whether err tells nothing of what a destination on another machine
// holds, but only that it could not be asked.
func unreachable(st store.Store, err error) bool {
	return !isLocal(st) && errors.As(err, new(*store.Error))
}

// sortStored sorts archives by their names' series, the newest of each first.
func sortStored(all []stored) {
	slices.SortStableFunc(all, func(a, b stored) int {
		return cmp.Or(cmp.Compare(a.name.Series, b.name.Series), b.name.Time.Compare(a.name.Time), cmp.Compare(a.Name, b.Name))
	})
}

// readHead reads what the manifest of an archive says, which may be without the frames
// if they would take a request more, or another one's patience: see Manifest.Whole. No
// manifest is no error.
func readHead(ctx context.Context, st store.Store, o store.Object) (*archive.Manifest, error) {
	data, whole, err := st.ReadSideHead(ctx, archive.SideName(o.Name), headSize)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !whole {
		m, err := archive.ReadHead(data)
		if err == nil {
			err = fits(m, o)
		}
		if err == nil {
			return m, nil
		}
		return readManifest(ctx, st, o)
	}
	return parseManifest(data, o)
}

// readManifest reads the whole manifest of an archive. No manifest is no error.
func readManifest(ctx context.Context, st store.Store, o store.Object) (*archive.Manifest, error) {
	data, err := st.ReadSide(ctx, archive.SideName(o.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseManifest(data, o)
}

// parseManifest is a manifest, if it is that of an archive.
func parseManifest(data []byte, o store.Object) (*archive.Manifest, error) {
	m, err := archive.ReadManifest(data)
	if err == nil {
		err = fits(m, o)
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

// sealedName says whether an archive is encrypted, by its name.
func sealedName(archive string) bool {
	name, ours := rotate.ParseName(archive)
	return ours && name.Sealed
}

// fits says why a manifest is not that of an archive.
func fits(m *archive.Manifest, o store.Object) error {
	switch {
	case m.Sealed != nil != sealedName(o.Name):
		return errors.New("manifest: it does not go with the archive: one of them is encrypted, the other is not")
	case m.Archive != o.Name:
		return fmt.Errorf("manifest: it is that of %q", m.Archive)
	case m.Size != o.Size:
		return fmt.Errorf("manifest: it tells of %d bytes, the archive has %d", m.Size, o.Size)
	}
	return nil
}

// complete reads the rest of an archive's manifest, if only its head is known, or all of
// it if nothing is. The error is that the destination cannot be asked.
func (a *stored) complete(ctx context.Context, st store.Store) error {
	if m := a.manifest; a.doubt != nil || m != nil && (m.Whole() || m.Sealed != nil) {
		return nil
	}
	a.manifest, a.doubt = readManifest(ctx, st, a.Object)
	if unreachable(st, a.doubt) {
		return a.doubt
	}
	return nil
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
// given another name, or its source is edited; and another job may go on with them, if it
// is the only one that makes some: machines have the same name and the same paths when they
// have the same system, and nobody gave them another.
func checkOwner(all []stored, o Options, jobID, host string, asked bool) error {
	m := newestKnown(all)
	if m == nil || m.Job != "" && m.Job == jobID {
		return nil
	}
	if m.OwnedBy(host, o.Source) {
		if asked || m.Job == "" || jobID == "" || !slices.ContainsFunc(all, func(a stored) bool { return a.manifest != nil && a.manifest.Job == jobID }) {
			return nil
		}
		return &UsageError{
			Msg:  fmt.Sprintf("destination %q has archives called %q of this job, and newer ones of job %s, on a machine that is called %s, too", o.Dest, o.Name, m.Job, m.Host),
			Hint: "give one of the two another name with --name NAME, or another destination; if that job is gone: " + rerun(jobID),
		}
	}
	of := m.Source
	if m.Sealed != nil {
		of = "another source"
	}
	return &UsageError{
		Msg:  fmt.Sprintf("destination %q already has archives called %q, of %s on %s", o.Dest, o.Name, of, m.Host),
		Hint: "give these another name with --name NAME, or another destination",
	}
}

// mend puts right what killed runs of the series left: partial files,
// manifests and maps of archives that never were, and a SHA256SUMS that lacks an
// archive or tells of one that is gone. Call it under the lock of the series, which l was
// made under, too; all are its archives of the series.
func mend(ctx context.Context, st store.Store, series string, l listing, all []stored) ([]string, error) {
	ours := func(name string) bool {
		n, ok := rotate.ParseName(strings.TrimSuffix(strings.TrimSuffix(name, archive.SideName("")), bmapSuffix))
		return ok && n.Series == series
	}
	swept, err := st.Sweep(ctx, func(name string) bool { return ours(name) || name == recordName(series) })
	if err != nil {
		return swept, err
	}
	there := map[string]stored{}
	for _, a := range all {
		there[a.Name] = a
	}
	for _, side := range l.sides {
		name, isManifest := strings.CutSuffix(side, archive.SideName(""))
		if _, ok := there[name]; ok || !isManifest || !ours(side) {
			continue
		}
		if err := st.RemoveSide(ctx, side); err == nil {
			swept = append(swept, side)
		} else if err := ignoreKept(err); err != nil {
			return swept, err
		}
	}
	maps, err := removeMaps(ctx, st, l.objects, func(archive string) bool { _, ok := there[archive]; return !ok && ours(archive) })
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
		if sums[name] == "" && a.manifest != nil && a.manifest.SHA256 != "" {
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
