// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"html"
	"io"
	"math"
)

// The plot: a line for each row of the table, a mark for each daemon at its CPU time's ratio to
// the reference, on a logarithmic scale.
const (
	plotLeft, plotWidth = 190, 520 // pixels: the names, the scale
	plotLine, plotHead  = 18, 60
	plotMin, plotMax    = 0.2, 5.0 // ratios; what is beyond is drawn at the edge
)

var plotColors = []string{"#1b6ca8", "#d95f02", "#7570b3", "#1b9e77", "#e7298a", "#666666"}

// plot writes the SVG.
func (r *Result) plot(w io.Writer) error {
	var rows []group
	for _, g := range r.groups() {
		if g.ref != nil {
			rows = append(rows, g)
		}
	}
	height := plotHead + plotLine*(len(rows)+2)
	p := &printer{w: w}
	p.f(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`, plotLeft+plotWidth+40, height)
	p.f(`<rect width="100%%" height="100%%" fill="white"/>`)
	p.f(`<text x="10" y="18">CPU time per operation, as a ratio to %s (1.0); left is better</text>`, html.EscapeString(r.to()))
	colors := r.legend(p)
	for _, v := range []float64{0.2, 0.33, 0.5, 0.75, 1, 1.5, 2, 3, 5} {
		color := "#dddddd"
		if v == 1 {
			color = "#000000"
		}
		p.f(`<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="%s"/>`, plotX(v), plotX(v), plotHead, height-plotLine, color)
		p.f(`<text x="%.1f" y="%d" text-anchor="middle" fill="#555555">%g</text>`, plotX(v), height-4, v)
	}
	last := ""
	for i, g := range rows {
		y := plotHead + plotLine*(i+1)
		c := g.cells[0]
		name := fmt.Sprintf("%s %d", c.Workload, c.Depth)
		p.f(`<text x="10" y="%d">%s</text>`, y+4, html.EscapeString(name))
		if c.Dir != last && i > 0 {
			p.f(`<line x1="0" x2="100%%" y1="%d" y2="%d" stroke="#999999" stroke-dasharray="4"/>`, y-plotLine/2, y-plotLine/2)
		}
		last = c.Dir
		for _, c := range g.cells {
			if v := g.ratio(c, cpu); v > 0 && colors[c.Daemon] != "" {
				p.f(`<circle cx="%.1f" cy="%d" r="5" fill="%s" fill-opacity="0.8"><title>%s, %s: %.2f</title></circle>`,
					plotX(v), y, colors[c.Daemon], html.EscapeString(name+", "+c.Dir), html.EscapeString(c.Daemon), v)
			}
		}
	}
	p.f(`</svg>`)
	return p.err
}

// legend draws the daemons' colours and returns them.
func (r *Result) legend(p *printer) map[string]string {
	colors := map[string]string{}
	x := 16
	for _, d := range append(r.Daemons, Daemon{Name: floorName}) {
		if d.Missing != "" {
			continue
		}
		color := plotColors[len(colors)%len(plotColors)]
		colors[d.Name] = color
		p.f(`<circle cx="%d" cy="36" r="5" fill="%s"/><text x="%d" y="40">%s</text>`, x, color, x+9, html.EscapeString(d.Name))
		x += 30 + 7*len(d.Name)
	}
	return colors
}

// plotX is where a ratio stands.
func plotX(v float64) float64 {
	v = min(max(v, plotMin), plotMax)
	return plotLeft + plotWidth*math.Log(v/plotMin)/math.Log(plotMax/plotMin)
}

// printer keeps the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) f(format string, a ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", a...)
	}
}
