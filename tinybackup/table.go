package tinybackup

import (
	"io"
	"strings"
	"unicode/utf8"
)

// A column of a table, and how it gives way where a screen is not wide enough.
type column struct {
	head  string
	right bool // as numbers are
	least int  // its cells may be cut to so many characters; 0: they stay whole
	wraps bool // the last column: a cell goes on in lines of its own
}

const (
	tableGap = "  "
	// A cell that wraps stands below its row, indented, if there is less than wrapLeast
	// beside it, or if it would take more than two lines there.
	wrapLeast  = 16
	wrapIndent = "    "
)

// printTable prints rows of cells, each column as wide as its widest, at most
// helpWidth in all as far as the columns give way.
func printTable(w io.Writer, columns []column, rows [][]string) error {
	widths := make([]int, len(columns))
	var heads []string
	for _, c := range columns {
		heads = append(heads, c.head)
	}
	rows = append([][]string{heads}, rows...)
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	fit(columns, widths)
	var b strings.Builder
	for n, row := range rows {
		writeRow(&b, columns, widths, row, n == 0)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// fit makes widths narrower where columns allow it, the widest first, until all
// fit. The width of one that wraps is what is left.
func fit(columns []column, widths []int) {
	left := helpWidth - len(tableGap)*(len(widths)-1)
	last := len(columns) - 1
	for i := range widths {
		if i < last || !columns[i].wraps {
			left -= widths[i]
		}
	}
	for left < 0 {
		widest := -1
		for i, c := range columns {
			if c.least > 0 && widths[i] > c.least && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
		left++
	}
	if columns[last].wraps && widths[last] > left {
		widths[last] = left
	}
}

func writeRow(b *strings.Builder, columns []column, widths []int, row []string, head bool) {
	line, below, indent := "", "", 0
	for i, cell := range row {
		c := columns[i]
		switch {
		case !c.wraps:
			cell = cut(cell, max(widths[i], c.least))
		case utf8.RuneCountInString(cell) > widths[i]:
			beside := wrap(cell, widths[i], strings.Repeat(" ", indent))
			if widths[i] < wrapLeast || strings.Count(beside, "\n") > 1 {
				below = "\n" + wrapIndent + wrap(cell, helpWidth-len(wrapIndent), wrapIndent)
				beside = ""
			}
			cell = beside
		}
		pad := strings.Repeat(" ", max(0, widths[i]-utf8.RuneCountInString(cell)))
		if c.right {
			line += pad + cell
		} else {
			line += cell + pad
		}
		line += tableGap
		indent += widths[i] + len(tableGap)
	}
	if head {
		below = ""
	}
	b.WriteString(strings.TrimRight(line, " ") + below + "\n")
}

// cut is the beginning of text, in at most so many characters.
func cut(text string, most int) string {
	runes := []rune(text)
	if len(runes) <= most {
		return text
	}
	return string(runes[:most-1]) + "…"
}
