package tinybackup

import (
	"bytes"
	"testing"
	"unicode/utf8"
)

func TestTable(t *testing.T) {
	t.Parallel()
	long := "keep: newest, last #1, daily #1, weekly #1, monthly #1, yearly #1, within 30d, held"
	for name, c := range map[string]struct {
		columns []column
		rows    [][]string
		want    string
	}{
		"as wide as needed": {
			[]column{{head: "A"}, {head: "NUMBER", right: true}, {head: "WHY", wraps: true}},
			[][]string{{"grün", "1", "x"}, {"b", "1,000", ""}},
			"A     NUMBER  WHY\ngrün       1  x\nb      1,000\n",
		},
		"cut, the widest first": {
			[]column{{head: "NAME", least: 8}, {head: "TIME", least: 8}, {head: "X"}},
			[][]string{{"abcdefghijklmnopqrstuvwxyz-abcdefghijklmnopqrstuvwxyz-abcdefghijklmnopqrstuvwxyz", "30 2 * * *", "x"}},
			"NAME                                                               TIME        X\nabcdefghijklmnopqrstuvwxyz-abcdefghijklmnopqrstuvwxyz-abcdefghij…  30 2 * * *  x\n",
		},
		"two lines beside": {
			[]column{{head: "A"}, {head: "WHY", wraps: true}},
			[][]string{{"a", long}},
			"A  WHY\na  keep: newest, last #1, daily #1, weekly #1, monthly #1, yearly #1, within\n   30d, held\n",
		},
		"below": {
			[]column{{head: "A"}, {head: "WHY", wraps: true}},
			[][]string{{"an-archive-with-a-long-name-20261121T143257Z.tar.zst", long}, {"b", "short"}},
			"A                                                     WHY\nan-archive-with-a-long-name-20261121T143257Z.tar.zst\n" +
				"    keep: newest, last #1, daily #1, weekly #1, monthly #1, yearly #1, within\n    30d, held\n" +
				"b                                                     short\n",
		},
	} {
		var b bytes.Buffer
		if err := printTable(&b, c.columns, c.rows); err != nil {
			t.Fatal(err)
		}
		if b.String() != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, &b, c.want)
		}
		for line := range bytes.Lines(b.Bytes()) {
			if n := utf8.RuneCount(bytes.TrimRight(line, "\n")); n > helpWidth {
				t.Errorf("%s: %d columns: %s", name, n, line)
			}
		}
	}
}
