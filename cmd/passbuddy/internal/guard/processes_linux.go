package guard

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// adoptOrphans has this process become the parent of descendants whose parents end.
func adoptOrphans() error {
	return os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
}

// endsWithParent has the kernel kill the process when the thread that started it ends.
func endsWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGKILL }

// A process is a line of /proc/*/stat.
type process struct {
	pid, parent, group int
	zombie             bool
	name               string
}

// processes returns all processes, by their ids.
func processes() map[int]process {
	all := map[int]process{}
	proc, err := os.Open("/proc")
	if err != nil {
		return all
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue // it has ended
		}
		if p, ok := parseStat(pid, stat); ok {
			all[pid] = p
		}
	}
	return all
}

// parseStat reads "pid (name) state parent group …". The name may have any characters.
func parseStat(pid int, stat []byte) (process, bool) {
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return process{}, false
	}
	fields := strings.Fields(string(stat[end+1:]))
	if len(fields) < 3 {
		return process{}, false
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return process{}, false
	}
	group, err := strconv.Atoi(fields[2])
	if err != nil {
		return process{}, false
	}
	return process{pid: pid, parent: parent, group: group, zombie: fields[0] == "Z" || fields[0] == "X", name: string(stat[open+1 : end])}, true
}

// processes returns those of the command that have not ended: the front's descendants, and the command's group. Where deep,
// it also finds by their environment those that have left both; that takes longer.
func (c *command) processes(deep bool) []process {
	all := processes()
	children := map[int][]process{}
	for _, p := range all {
		children[p.parent] = append(children[p.parent], p)
	}
	found := map[int]process{}
	var next []int
	if c.front != 0 { // else it would be the parent of all
		next = []int{c.front}
	}
	for len(next) > 0 {
		parent := next[0]
		next = next[1:]
		for _, p := range children[parent] {
			if p.pid != c.keeper {
				next = append(next, p.pid)
				found[p.pid] = p
			}
		}
	}
	for _, p := range all {
		if p.pid == c.front || p.pid == c.keeper {
			continue
		}
		if c.group > 0 && p.group == c.group || deep && isUnder(p.pid, c.mark) {
			found[p.pid] = p
		}
	}
	alive := make([]process, 0, len(found))
	for _, p := range found {
		if !p.zombie {
			alive = append(alive, p)
		}
	}
	slices.SortFunc(alive, func(p, q process) int { return p.pid - q.pid })
	return alive
}

// isUnder reports whether the environment of a process has the mark of a lease. Another user's cannot be read.
func isUnder(pid int, mark string) bool {
	environ, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return false
	}
	for v := range bytes.SplitSeq(environ, []byte{0}) {
		if held, is := bytes.CutPrefix(v, []byte(heldVariable+"=")); is && isMarked(string(held), mark) {
			return true
		}
	}
	return false
}
