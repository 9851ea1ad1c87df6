// What the scripts of tests/corpus/user/go.cases look at: arguments and results in registers, and a stack that grows, so that Go moves it.
package main

import (
	"os"
	"strconv"
)

type point struct{ x, y int }

//go:noinline
func add(a, b int) int { return a + b }

//go:noinline
func (p *point) move(dx int, name string) string {
	p.x += dx
	return name + strconv.Itoa(p.x)
}

//go:noinline
func deep(n int) int {
	var pad [200]int
	for i := range pad {
		pad[i] = n
	}
	if n == 0 {
		return pad[3]
	}
	return deep(n-1) + pad[7]
}

func main() {
	p := &point{1, 2}
	s := 0
	for i := 0; i < 3; i++ {
		s += add(i, 10*i)
	}
	if s != 33 || p.move(3, "at") != "at4" || deep(200) != 20100 {
		os.Exit(1)
	}
}
