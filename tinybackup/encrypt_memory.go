package tinybackup

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"tinybackup/internal/archive"
	"tinybackup/internal/source"
)

// A job that encrypts cannot read what it has written. So that it finds out all the same
// that nothing has changed, and links instead of writing everything once more, it keeps
// the manifest of its last archive to itself, as it was before it was encrypted. Whether
// it is that of the newest archive, the destination says: what is kept is never the truth.

// memoryName is the file of it in the job's state directory.
const memoryName = "encrypted.last"

// A memoryHead is the first line of the file; the manifest follows.
type memoryHead struct {
	Archive string `json:"archive"`
	Size    int64  `json:"size"`    // of the encrypted archive, in bytes
	SHA256  string `json:"sha256"`  // of the same
	Readers string `json:"readers"` // who can read it: see seal.Recipients.ID
}

// memoryPath is where the file is; empty: there is none, of a run without a job.
func (r *run) memoryPath() string {
	if r.stateDir == "" {
		return ""
	}
	return filepath.Join(r.stateDir, memoryName)
}

// memoryHead is that of the newest archive, as the destination has it, for those who are
// to read the next one.
func (r *run) memoryHead(newest *archive.Manifest) memoryHead {
	return memoryHead{Archive: newest.Archive, Size: newest.Size, SHA256: newest.SHA256, Readers: r.readers.ID()}
}

// remembered is the whole manifest of the newest archive, if that is encrypted to the
// same recipients; or nil.
func (r *run) remembered() *archive.Manifest {
	if r.memoryPath() == "" || r.reread() || r.last.Sealed == nil || r.source.Kind == source.Device { // which would be read twice
		return nil
	}
	data, err := os.ReadFile(r.memoryPath())
	if err != nil {
		return nil
	}
	line, rest, _ := bytes.Cut(data, []byte("\n"))
	var head memoryHead
	if json.Unmarshal(line, &head) != nil || head != r.memoryHead(r.last) {
		return nil
	}
	m, err := archive.ReadManifest(rest)
	if err != nil || m.Sealed != nil || m.Source != r.Source || m.Archive != r.last.Archive {
		return nil
	}
	return m
}

// remember keeps the whole manifest of the new archive. Without it, the next run takes
// longer, and that is all.
func (r *run) remember() {
	path := r.memoryPath()
	if path == "" {
		return
	}
	err := r.writeMemory(path)
	if err != nil {
		r.Log.Info("what the next run needs to know of this one is not kept: " + err.Error())
	}
}

func (r *run) writeMemory(path string) error {
	if r.secret == nil {
		if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	head, err := json.Marshal(r.memoryHead(r.manifest))
	if err != nil {
		return err
	}
	data, err := r.secret.Encode()
	if err != nil {
		return err
	}
	return writeWhole(path, append(append(head, '\n'), data...))
}
