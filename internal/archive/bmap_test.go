package archive

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"tinybackup/internal/source"
)

// TestBlockRanges rounds what is used outwards to whole blocks.
func TestBlockRanges(t *testing.T) {
	raw := make([]byte, 10*bmapBlock+512) // the end of an image
	for i := range raw {
		raw[i] = byte(i / 7)
	}
	const off = 20 * bmapBlock
	for _, c := range []struct {
		used []source.Extent
		want [][2]int64
	}{
		{nil, nil},
		{[]source.Extent{{Off: off, Len: 1}}, [][2]int64{{20, 20}}},
		{[]source.Extent{{Off: off, Len: int64(len(raw))}}, [][2]int64{{20, 30}}},
		{[]source.Extent{{Off: off + 4095, Len: 2}}, [][2]int64{{20, 21}}},
		{[]source.Extent{{Off: off + 512, Len: 512}, {Off: off + 2048, Len: 512}}, [][2]int64{{20, 20}}},
		{[]source.Extent{{Off: off, Len: 4096}, {Off: off + 4096, Len: 4096}}, [][2]int64{{20, 21}}},
		{[]source.Extent{{Off: off, Len: 4096}, {Off: off + 8192, Len: 4096}}, [][2]int64{{20, 20}, {22, 22}}},
		{[]source.Extent{{Off: off + 10*bmapBlock + 100, Len: 412}}, [][2]int64{{30, 30}}},
	} {
		var got [][2]int64
		for _, r := range blockRanges(off, raw, c.used) {
			got = append(got, [2]int64{r.First, r.Last})
			if want := sha256.Sum256(raw[r.First*bmapBlock-off : min(len(raw), int((r.Last+1)*bmapBlock-off))]); r.SHA256 != want {
				t.Errorf("%v: blocks %d to %d: wrong sum", c.used, r.First, r.Last)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%v: got %v, want %v", c.used, got, c.want)
		}
	}
}

// TestBlockMapSum checks the file's own checksum as bmaptool does.
func TestBlockMapSum(t *testing.T) {
	m := &BlockMap{Size: 3*bmapBlock + 1, Ranges: []BlockRange{{First: 0, Last: 0}, {First: 2, Last: 3}}}
	text := string(m.Encode())
	_, after, _ := strings.Cut(text, "<BmapFileChecksum> ")
	sum := after[:64]
	if want := fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Replace(text, sum, strings.Repeat("0", 64), 1)))); sum != want {
		t.Errorf("checksum: got %s, want %s", sum, want)
	}
	for _, want := range []string{"<ImageSize> 12289 </", "<BlocksCount> 4 </", "<MappedBlocksCount> 3 </", "> 0 </Range>", "> 2-3 </Range>"} {
		if !strings.Contains(text, want) {
			t.Errorf("got %s, want %s in it", text, want)
		}
	}
}
