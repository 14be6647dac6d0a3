// Package proc runs the benchmark's processes: children of the same binary, which talk to the parent in
// lines of JSON, start together, and share a clock and a page of memory. All of them end with the parent:
// their input ends, and on Linux the kernel kills them as well.
package proc
