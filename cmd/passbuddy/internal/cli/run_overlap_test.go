package cli

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/internal/redistest"
)

var rounds = flag.Int("rounds", 20, "how often two runs compete for one permit")

// Two processes of one command have a lock of the kernel for as long as one of them lives: whoever finds it taken says so.
// The command is long enough for the next one to begin beside it, where a killed run gives its permit back too early.
const exclusive = `exec 9>lock
flock -n 9 || echo "overlap $$" >>log
echo "begin $$" >>log
sleep 0.2
echo "end $$" >>log`

// Two runs of one name with a capacity of 1 never overlap, whichever of their processes is killed.
func TestTwoRunsNeverOverlap(t *testing.T) {
	needs(t, "flock", "it judges whether two commands overlap")
	server := redistest.Start(t)
	dir := t.TempDir()
	var mu sync.Mutex
	codes := map[int]int{}
	killed := map[string]int{}
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			for range *rounds {
				c := passbuddy(t, server, "run", "one", "--capacity", "1", "--ttl", "1s", "--", "sh", "-c", exclusive)
				c.Dir = dir
				c.start()
				victim := ""
				if rand.N(2) == 0 {
					select {
					case <-c.ended:
					case <-time.After(rand.N(600 * time.Millisecond)):
						victim = killOneOf(c)
					}
				}
				code := c.code()
				mu.Lock()
				codes[code]++
				killed[victim]++
				mu.Unlock()
			}
		})
	}
	both.Wait()
	log, err := os.ReadFile(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	begun := strings.Count(string(log), "begin ")
	t.Logf("%d commands in 2 × %d rounds; exit codes %v; killed %v", begun, *rounds, codes, killed)
	if n := strings.Count(string(log), "overlap "); n > 0 || begun == 0 {
		t.Errorf("%d of %d commands found another at work:\n%s", n, begun, log)
	}
	// The same by the log: after a begin there is an end, unless the command was killed, which has none.
	running := ""
	for line := range strings.Lines(string(log)) {
		what, pid, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch what {
		case "begin":
			running = pid
		case "end":
			if pid != running {
				t.Errorf("%s ends while %s runs", pid, running)
			}
		}
	}
}

// killOneOf kills the front, its keeper or the command, and says which. Nothing, where it does not find it.
func killOneOf(c *call) string {
	var pids []int
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", c.Process.Pid))
	for _, file := range threads {
		children, _ := os.ReadFile(file)
		for _, child := range strings.Fields(string(children)) {
			var pid int
			if _, err := fmt.Sscan(child, &pid); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	pids = append(pids, c.Process.Pid)
	pid := pids[rand.N(len(pids))]
	name := "the command"
	switch line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); {
	case pid == c.Process.Pid:
		name = "the front"
	case strings.Contains(string(line), keeperCommand):
		name = "the keeper"
	}
	if syscall.Kill(pid, syscall.SIGKILL) != nil {
		return ""
	}
	return name
}
