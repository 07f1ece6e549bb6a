package tinybackup

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tinybackup/internal/rotate"
	"tinybackup/internal/store"
	"tinybackup/internal/store/s3/s3test"
)

// Ten thousand archives of fifty hosts in one bucket are told of for one request per
// thousand names, one per host to list it, and one per record.
func TestFleetS3(t *testing.T) {
	t.Parallel()
	const hosts, archives = 50, 200
	server := s3test.Start(t)
	files := server.Files("fleet")
	now := time.Now().UTC()
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for h := range hosts {
		host := fmt.Sprintf("host%02d", h)
		dir := filepath.Join(files, host)
		if err := os.MkdirAll(filepath.Join(dir, store.SideDir), 0o700); err != nil {
			t.Fatal(err)
		}
		name := ""
		for i := range archives {
			name = rotate.Name{Series: "home", Time: now.Add(time.Duration(i-archives) * time.Hour), Kind: rotate.KindDir, Codec: "zstd"}.String()
			write(filepath.Join(dir, name), "x")
		}
		last := &HistoryEntry{Start: now, End: now, Result: ResultOK, Archive: name}
		data, err := json.Marshal(Record{Version: recordVersion, Recorded: now, Host: host, Name: "home", Last: last, LastGood: last})
		if err != nil {
			t.Fatal(err)
		}
		write(filepath.Join(dir, store.SideDir, "home.status"), string(data))
	}
	b := newBench(t)
	b.env.Now = time.Now
	proxy := server.Proxy(t)
	o := FleetOptions{Dest: proxy.Dest("fleet"), Access: Access{S3Keys: S3Keys(server.ID + ":" + server.Secret)}}
	f, err := FleetOf(t.Context(), b.env, o)
	if err != nil || len(f.Jobs) != hosts || !f.OK || f.Jobs[49].Archives != archives {
		t.Fatalf("%d jobs, ok %v, %v", len(f.Jobs), f.OK, err)
	}
	t.Logf("%d archives of %d hosts: %d requests", hosts*archives, hosts, proxy.Count().Requests)
	if n, most := proxy.Count().Requests, hosts*(archives+2)/1000+2*hosts+10; n > most {
		t.Errorf("%d requests, want no more than %d: %v", n, most, proxy.Count().Methods)
	}
}
