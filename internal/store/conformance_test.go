package store_test

import (
	"testing"

	"tinybackup/internal/store"
	"tinybackup/internal/store/storetest"
)

func TestLocal(t *testing.T) {
	storetest.Store(t, func(t *testing.T) store.Store {
		l, err := store.OpenLocal(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		return l
	})
}

func TestRemote(t *testing.T) {
	storetest.Store(t, func(*testing.T) store.Store { return store.NewRemote(storetest.NewMemory()) })
}
