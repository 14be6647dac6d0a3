package lease_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/lease"
)

// A member is a process of a fleet: this test binary, started again. It takes orders over stdin, one JSON
// object a line, answers over stdout when one is carried out, and ends when stdin does: when its parent
// closes it, or dies.
type member struct {
	t     testing.TB
	slot  int // its place in the judge
	judge *judge
	cmd   *exec.Cmd
	stdin io.WriteCloser
	gone  chan struct{} // closed when it has ended

	mu      sync.Mutex
	last    int
	waiting map[int]chan report
}

const memberEnv = "PASSBUDDY_TEST_MEMBER"

// An order says what a member is to do.
type order struct {
	Number int
	Do     string

	URL, Judge string // open
	Slot       int
	Config     lease.Config

	Callers, Each int           // work: how many callers, how often each acquires; 0: until stop
	Section       time.Duration // for how long each holds
	Rival         int           // and whose turns to count while one waits
	Patient       bool          // and whether to go on after an error of Redis
	Key           string        // hold, release, end: which lease
	Weight        int
}

// A report is what came of it.
type report struct {
	Number int
	Err    string
	Served []int // work: by caller
	Turns  []int // work with one caller: what the rival got during each wait
	Lost   int   // work: leases that ended before they were released
	ID     string
	Token  int64
	Revoked, Ignored,
	At int64 // when it happened, in ns since the epoch
}

// startFleet starts n processes that use one semaphore.
func startFleet(t testing.TB, n int, j *judge, url string, cfg lease.Config) []*member {
	t.Helper()
	fleet, opened := make([]*member, n), make([]<-chan report, n)
	for i := range fleet {
		fleet[i] = startMember(t, j)
		opened[i] = fleet[i].send(order{Do: "open", URL: url, Judge: j.path, Slot: fleet[i].slot, Config: cfg})
	}
	t.Cleanup(func() { // they end at the same time
		for _, p := range fleet {
			_ = p.stdin.Close()
		}
	})
	for i, p := range fleet {
		if a := p.await(opened[i]); a.Err != "" {
			t.Fatal(a.Err)
		}
	}
	return fleet
}

func startMember(t testing.TB, j *judge) *member {
	t.Helper()
	p := &member{t: t, judge: j, slot: j.members, cmd: exec.Command(os.Args[0]), gone: make(chan struct{}), waiting: map[int]chan report{}}
	if j.members++; j.members > maxMembers {
		t.Fatalf("a judge counts %d processes at most", maxMembers)
	}
	p.cmd.Env = append(os.Environ(), memberEnv+"=yes", "GORACE=halt_on_error=1 atexit_sleep_ms=0")
	p.cmd.Stderr = os.Stderr
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.listen(out)
	t.Cleanup(p.close)
	return p
}

// listen hands on the answers until the process ends.
func (p *member) listen(out io.Reader) {
	lines := json.NewDecoder(bufio.NewReader(out))
	for {
		var a report
		if lines.Decode(&a) != nil {
			break
		}
		p.mu.Lock()
		p.waiting[a.Number] <- a
		delete(p.waiting, a.Number)
		p.mu.Unlock()
	}
	_ = p.cmd.Wait()
	close(p.gone)
}

// send gives an order; its answer comes on the channel.
func (p *member) send(o order) <-chan report {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	o.Number = p.last
	answers := make(chan report, 1)
	p.waiting[o.Number] = answers
	line, err := json.Marshal(o)
	if err != nil {
		panic(err) // a struct of plain fields
	}
	_, _ = p.stdin.Write(append(line, '\n')) // an error means that it has ended, and that is seen when its answer is missed
	return answers
}

// await returns the answer, or fails the test when the process ends first.
func (p *member) await(answers <-chan report) report {
	p.t.Helper()
	select {
	case a := <-answers:
		return a
	case <-p.gone:
		p.t.Fatalf("process %d ended: %v", p.slot, p.cmd.ProcessState)
	case <-time.After(2 * time.Minute):
		p.t.Fatalf("process %d does not answer", p.slot)
	}
	return report{}
}

// must carries an order out, without an error.
func (p *member) must(o order) report {
	p.t.Helper()
	a := p.await(p.send(o))
	if a.Err != "" {
		p.t.Fatalf("process %d: %s: %s", p.slot, o.Do, a.Err)
	}
	return a
}

// mustHaveWorked returns what came of work: no lease was lost, no call failed.
func (p *member) mustHaveWorked(working <-chan report) report {
	p.t.Helper()
	a := p.await(working)
	if a.Err != "" || a.Lost > 0 {
		p.t.Errorf("process %d: %d leases lost, error %q", p.slot, a.Lost, a.Err)
	}
	return a
}

// kill ends the process with SIGKILL, wherever it is, and takes it out of the judge's count.
func (p *member) kill() {
	_ = p.cmd.Process.Kill()
	<-p.gone
	p.judge.bury(p.slot)
}

// close has the process end by itself: it closes its manager.
func (p *member) close() {
	_ = p.stdin.Close()
	select {
	case <-p.gone:
	case <-time.After(30 * time.Second):
		p.t.Errorf("process %d does not end", p.slot)
		_ = p.cmd.Process.Kill()
		<-p.gone
	}
}

func isMember() bool { return os.Getenv(memberEnv) != "" }

// beMember is a member's life.
func beMember() {
	var (
		manager   *lease.Manager
		semaphore *lease.Semaphore
		judge     *judge
		slot      int
		stop      = make(chan struct{})
		leases    sync.Map // by key
		out       sync.Mutex
	)
	ctx, cancel := context.WithCancel(context.Background())
	carryOut := func(o order) (a report, err error) {
		switch o.Do {
		case "open":
			slot = o.Slot
			if judge, err = openJudge(o.Judge); err != nil {
				return a, err
			}
			if manager, err = lease.Open(o.URL, lease.Options{Logger: quiet}); err != nil {
				return a, err
			}
			if semaphore, err = manager.Semaphore(o.Config); err != nil {
				return a, err
			}
			return a, manager.Ping(ctx)
		case "work":
			return work(ctx, semaphore, judge, slot, o, stop)
		case "stop":
			close(stop)
		case "hold":
			l, err := semaphore.Acquire(ctx, lease.Weight(max(o.Weight, 1)))
			a.At = time.Now().UnixNano()
			if err != nil {
				return a, err
			}
			judge.enter(slot)
			leases.Store(o.Key, l)
			a.ID, a.Token = l.ID(), l.Token()
		case "release":
			v, ok := leases.LoadAndDelete(o.Key)
			if !ok {
				return a, fmt.Errorf("no lease %q", o.Key)
			}
			judge.leave(slot)
			a.At = time.Now().UnixNano()
			err = v.(*lease.Lease).Release()
		case "end": // answers when the lease has ended
			v, ok := leases.Load(o.Key)
			if !ok {
				return a, fmt.Errorf("no lease %q", o.Key)
			}
			l := v.(*lease.Lease)
			<-l.Held().Done()
			a.At = time.Now().UnixNano()
			var lost *lease.LostError
			if errors.As(l.Err(), &lost) && lost.Reason == lease.LossRevoked {
				a.Revoked = 1
			}
		case "pop": // the baseline of "hold"
			err = manager.Client().BLPop(ctx, time.Minute, "tokens").Err()
			a.At = time.Now().UnixNano()
		default:
			err = fmt.Errorf("unknown order %q", o.Do)
		}
		return a, err
	}
	orders := json.NewDecoder(bufio.NewReader(os.Stdin))
	answers := json.NewEncoder(os.Stdout)
	for {
		var o order
		if orders.Decode(&o) != nil {
			break
		}
		go func() {
			a, err := carryOut(o)
			a.Number = o.Number
			if err != nil {
				a.Err = err.Error()
			}
			out.Lock()
			defer out.Unlock()
			_ = answers.Encode(a)
		}()
	}
	cancel()
	if manager != nil {
		_ = manager.Close()
	}
	os.Exit(0)
}

// work has callers acquire and release.
func work(ctx context.Context, s *lease.Semaphore, j *judge, slot int, o order, stop <-chan struct{}) (report, error) {
	a := report{Served: make([]int, o.Callers)}
	var lost atomic.Int64
	var failed atomic.Pointer[error]
	var callers sync.WaitGroup
	for i := range o.Callers {
		callers.Go(func() {
			for o.Each == 0 || a.Served[i] < o.Each {
				select {
				case <-stop:
					return
				default:
				}
				before := j.turns(o.Rival)
				l, err := s.Acquire(ctx)
				if trouble := new(lease.RedisError); o.Patient && errors.As(err, &trouble) {
					time.Sleep(10 * time.Millisecond)
					continue
				}
				if err != nil {
					failed.Store(&err)
					return
				}
				j.enter(slot)
				if o.Callers == 1 {
					a.Turns = append(a.Turns, j.turns(o.Rival)-before)
				}
				j.turn(slot, l.Token())
				if o.Section > 0 {
					time.Sleep(o.Section)
				}
				if !l.Valid() {
					lost.Add(1)
				}
				j.leave(slot)
				if err := l.Release(); err != nil && !errors.Is(err, lease.ErrLost) && !o.Patient {
					failed.Store(&err)
					return
				}
				a.Served[i]++
			}
		})
	}
	callers.Wait()
	a.Lost = int(lost.Load())
	if err := failed.Load(); err != nil {
		return a, *err
	}
	return a, nil
}

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

// turn takes the token of a lease of a process: those of one grant differ by hand-overs only.
func (j *judge) turn(slot int, token int64) {
	if grant := uint64(token / 1000); j.words[judgeToken+slot].Swap(grant) != grant {
		j.words[judgeTurns+slot].Add(1)
	}
}

func (j *judge) turns(slot int) int { return int(j.words[judgeTurns+slot].Load()) }

func (j *judge) leave(slot int) { j.words[judgeLive].Add(-uint64(1 << (4 * slot))) }

// bury takes out what a process held when it was killed.
func (j *judge) bury(slot int) {
	for {
		word := j.words[judgeLive].Load()
		if j.words[judgeLive].CompareAndSwap(word, word&^(15<<(4*slot))) {
			return
		}
	}
}

func (j *judge) most() int   { return int(j.words[judgeMost].Load()) }
func (j *judge) served() int { return int(j.words[judgeServed].Load()) }

// mustHaveServed is for Eventually.
func (j *judge) mustHaveServed(n int) error {
	if j.served() < n {
		return fmt.Errorf("%d leases, want %d", j.served(), n)
	}
	return nil
}

// gone is for Eventually: a key is gone.
func gone(client redis.UniversalClient, key string) error {
	n, err := client.Exists(context.Background(), key).Result()
	if err == nil && n > 0 {
		err = fmt.Errorf("%s is there", key)
	}
	return err
}
