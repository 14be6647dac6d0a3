package lease_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"
)

// A judge counts, in memory that all processes share, how many leases live. Each process has four bits of
// one word: a single addition tells how many there are at that very moment, and the count of a process that
// was killed can be taken out.
type judge struct {
	path    string
	members int // in the parent only
	words   *[64]atomic.Uint64
}

const maxMembers = 16

// What the words are.
const (
	judgeLive = iota
	judgeMost
	judgeServed      // how many have entered
	judgeTurns  = 16 // of each process: how many grants of Redis it used, those that were handed over once
	judgeToken  = 32 // and the latest
)

func newJudge(t testing.TB) *judge {
	t.Helper()
	path := filepath.Join(t.TempDir(), "judge")
	if err := os.WriteFile(path, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	j, err := openJudge(path)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func openJudge(path string) (*judge, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	shared, err := syscall.Mmap(int(f.Fd()), 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return &judge{path: path, words: (*[64]atomic.Uint64)(unsafe.Pointer(unsafe.SliceData(shared)))}, nil
}

func (j *judge) enter(slot int) {
	word, sum := j.words[judgeLive].Add(1<<(4*slot)), uint64(0)
	for ; word > 0; word >>= 4 {
		sum += word & 15
	}
	for most := j.words[judgeMost].Load(); sum > most && !j.words[judgeMost].CompareAndSwap(most, sum); {
		most = j.words[judgeMost].Load()
	}
	j.words[judgeServed].Add(1)
}

func (j *judge) leave(slot int) { j.words[judgeLive].Add(-uint64(1 << (4 * slot))) }

// turn takes the token of a lease of a process: those of one grant differ by hand-overs only.
func (j *judge) turn(slot int, token int64) {
	if grant := uint64(token / 1000); j.words[judgeToken+slot].Swap(grant) != grant {
		j.words[judgeTurns+slot].Add(1)
	}
}

func (j *judge) turns(slot int) int { return int(j.words[judgeTurns+slot].Load()) }

// bury takes out what a process held when it was killed.
func (j *judge) bury(slot int) {
	for {
		word := j.words[judgeLive].Load()
		if j.words[judgeLive].CompareAndSwap(word, word&^(15<<(4*slot))) {
			return
		}
	}
}

func (j *judge) most() int { return int(j.words[judgeMost].Load()) }

func (j *judge) served() int { return int(j.words[judgeServed].Load()) }

// mustHaveServed is for Eventually.
func (j *judge) mustHaveServed(n int) error {
	if j.served() < n {
		return fmt.Errorf("%d leases, want %d", j.served(), n)
	}
	return nil
}
