package store

import "testing"

func TestLocal(t *testing.T) {
	testStore(t, func(t *testing.T) Store { return openDir(t, t.TempDir()) })
}

func openDir(t *testing.T, dir string) *Local {
	t.Helper()
	l, err := OpenLocal(dir)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
