package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	pageSize = 4096
	wordSize = 64 // a cache line for each word, so that they do not slow each other down
)

// A Page is memory that processes share: 64 words, all zero at first. It lives in a file.
type Page struct{ memory []byte }

// NewPage makes a page in a new file.
func NewPage(path string) (*Page, error) {
	if err := os.WriteFile(path, make([]byte, pageSize), 0o600); err != nil {
		return nil, err
	}
	return OpenPage(path)
}

// TempPage makes a page in a directory of its own, for the children of one measurement. remove takes both away.
func TempPage() (page *Page, path string, remove func(), err error) {
	dir, err := os.MkdirTemp("", "passbuddy-bench-")
	if err != nil {
		return nil, "", nil, err
	}
	path = filepath.Join(dir, "page")
	if page, err = NewPage(path); err != nil {
		_ = os.RemoveAll(dir)
		return nil, "", nil, err
	}
	return page, path, func() {
		_ = page.Close()
		_ = os.RemoveAll(dir)
	}, nil
}

// OpenPage maps the page that another process made.
func OpenPage(path string) (*Page, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	memory, err := unix.Mmap(int(f.Fd()), 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("shared memory: %w", err)
	}
	return &Page{memory}, nil
}

// Word returns the i-th word. It works among processes as it does among goroutines.
func (p *Page) Word(i int) *atomic.Int64 {
	return (*atomic.Int64)(unsafe.Pointer(&p.memory[i*wordSize]))
}

// Close unmaps the page. No word of it may be used any more.
func (p *Page) Close() error { return unix.Munmap(p.memory) }
