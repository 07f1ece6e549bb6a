package sftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"

	"tinybackup/internal/store"
)

const (
	findDepth = 3    // directories below each other
	findDirs  = 5000 // in all
	findOnce  = 8    // at a time
)

// Find implements store.Driver: it walks the directories at and below this one, but for hidden
// ones, lost+found and those that symbolic links lead to, three levels deep.
func (d *Driver) Find(ctx context.Context, suffix string) ([]store.Found, error) {
	var found []store.Found
	var errs []error
	seen := 0
	for level, depth := []string{""}, 0; len(level) > 0; depth++ {
		if seen += len(level); seen > findDirs {
			errs = append(errs, d.fail("search", "", hinted(fmt.Errorf("more than %d directories", findDirs), "name the one that has the destinations")))
			break
		}
		var mu sync.Mutex
		var next []string
		var wg sync.WaitGroup
		slots := make(chan struct{}, findOnce)
		for _, dir := range level {
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				below, sides, err := d.look(ctx, dir, suffix)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					errs = append(errs, err)
				}
				if len(sides) > 0 {
					found = append(found, store.Found{Below: dir, Sides: sides})
				}
				if depth < findDepth {
					next = append(next, below...)
				}
			})
		}
		wg.Wait()
		level = next
	}
	return found, errors.Join(errs...)
}

// look returns the directories in one, and its sidecars whose names end in suffix.
func (d *Driver) look(ctx context.Context, dir, suffix string) (below []string, sides []store.Object, err error) {
	entries, err := d.readDir(ctx, "search", dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil // removed since
	}
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		switch {
		case !e.IsDir():
		case e.Name() == store.SideDir:
			var objects []store.Object
			objects, err = d.List(ctx, path.Join(dir, store.SideDir)) // if it may not be read, what is below may
			for _, o := range objects {
				if strings.HasSuffix(o.Name, suffix) {
					sides = append(sides, o)
				}
			}
		case !strings.HasPrefix(e.Name(), ".") && e.Name() != "lost+found":
			below = append(below, path.Join(dir, e.Name()))
		}
	}
	return below, sides, err
}
