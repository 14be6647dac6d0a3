package sim

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/alicebob/miniredis/v2/server"
	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"
)

// An interpreter runs the scripts of one server. miniredis makes a new Lua state of 200 KB for every call,
// and that was half of a simulation's time; this one keeps its state. What a script calls goes to miniredis,
// to database 0.
type interpreter struct {
	dispatch  func(*server.Peer, []string)
	state     *lua.LState
	peer      *server.Peer // whom miniredis answers what scripts call
	answers   bytes.Buffer
	reader    *bufio.Reader                 // of answers
	sources   map[string]*lua.FunctionProto // by the name that EVALSHA has for them
	forPeople map[string]bool               // by the same name: an operator's
	full      bool                          // no memory is left
	short     bool                          // answers are cut to two elements
	work      int                           // the arguments of what the latest script has called
	wrote     bool                          // the script that runs has begun to write
	failed    bool                          // the latest script ended with an error
}

var compiled sync.Map // of all servers: source to *lua.FunctionProto

// strict lets no script leave something behind in a global variable for the next, as Redis does.
const strict = `setmetatable(_G, {
  __newindex = function(_, name) error('script attempted to create global variable ' .. name, 2) end,
  __index = function(_, name) error('script attempted to access nonexistent global variable ' .. name, 2) end,
})`

func newInterpreter(dispatch func(*server.Peer, []string)) *interpreter {
	in := &interpreter{dispatch: dispatch, sources: map[string]*lua.FunctionProto{}, forPeople: map[string]bool{}}
	l := lua.NewState(lua.Options{SkipOpenLibs: true})
	for name, open := range map[string]lua.LGFunction{
		lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable, lua.StringLibName: lua.OpenString, lua.MathLibName: lua.OpenMath,
	} {
		l.Push(l.NewFunction(open))
		l.Push(lua.LString(name))
		l.Call(1, 0)
	}
	l.SetGlobal("redis", l.SetFuncs(l.NewTable(), map[string]lua.LGFunction{
		"call":  func(l *lua.LState) int { return in.call(l, true) },
		"pcall": func(l *lua.LState) int { return in.call(l, false) },
	}))
	if err := l.DoString(strict); err != nil {
		panic("sim: " + err.Error())
	}
	in.state = l
	in.peer, in.reader = server.NewPeer(bufio.NewWriter(&in.answers)), bufio.NewReader(&in.answers)
	return in
}

func table(key, value string) *lua.LTable {
	t := &lua.LTable{}
	t.RawSetString(key, lua.LString(value))
	return t
}

// learn takes a script, and reports whether it knows it now.
func (in *interpreter) learn(cmd []string) bool {
	var source string
	switch verb := strings.ToUpper(cmd[0]); {
	case verb == "EVAL" && len(cmd) > 1:
		source = cmd[1]
	case verb == "SCRIPT" && len(cmd) > 2 && strings.EqualFold(cmd[1], "LOAD"):
		source = cmd[2]
	default:
		return false
	}
	name := nameOf(source)
	if in.sources[name] != nil {
		return true
	}
	proto, known := compiled.Load(source)
	if !known {
		chunk, err := parse.Parse(strings.NewReader(source), "user_script")
		if err != nil {
			return false // the server says so itself
		}
		made, err := lua.Compile(chunk, "user_script")
		if err != nil {
			return false
		}
		proto, _ = compiled.LoadOrStore(source, made)
	}
	in.sources[name] = proto.(*lua.FunctionProto)
	for _, verb := range []string{"inspect", "resize", "revoke"} {
		in.forPeople[name] = in.forPeople[name] || strings.HasPrefix(source, "-- "+verb+": ")
	}
	return true
}

// isForPeople reports whether a command runs an operator's script.
func (in *interpreter) isForPeople(cmd []string) bool {
	return len(cmd) > 1 && (in.forPeople[cmd[1]] || strings.EqualFold(cmd[0], "EVAL") && in.forPeople[nameOf(cmd[1])])
}

// forget is SCRIPT FLUSH.
func (in *interpreter) forget() { clear(in.sources) }

// evalsha answers EVALSHA.
func (in *interpreter) evalsha(p *server.Peer, cmd []string) {
	if len(cmd) < 3 {
		p.WriteError("ERR wrong number of arguments for 'evalsha' command")
		return
	}
	proto := in.sources[strings.ToLower(cmd[1])]
	if proto == nil {
		p.WriteError("NOSCRIPT No matching script. Please use EVAL.")
		return
	}
	keys, err := strconv.Atoi(cmd[2])
	if err != nil || keys < 0 || keys > len(cmd)-3 {
		p.WriteError("ERR the number of keys is wrong: " + cmd[2])
		return
	}
	in.wrote, in.failed = false, false
	l := in.state
	globals := l.G.Global
	globals.RawSetString("KEYS", list(cmd[3:3+keys]))
	globals.RawSetString("ARGV", list(cmd[3+keys:]))
	l.Push(l.NewFunctionFromProto(proto))
	defer l.SetTop(0)
	if err := l.PCall(0, 1, nil); err != nil {
		in.failed = true
		var failed *lua.ApiError
		if errors.As(err, &failed) && failed.Object != nil {
			p.WriteError(failed.Object.String())
		} else {
			p.WriteError("ERR " + err.Error())
		}
		return
	}
	reply := l.Get(-1)
	if t, ok := reply.(*lua.LTable); ok && in.short {
		for i := t.Len(); i > 2; i-- {
			t.Remove(i)
		}
	}
	writeLua(p, reply)
}

func list(values []string) *lua.LTable {
	t := &lua.LTable{}
	for _, v := range values {
		t.Append(lua.LString(v))
	}
	return t
}

// call is redis.call, and redis.pcall, which returns an error instead of raising it.
func (in *interpreter) call(l *lua.LState, raise bool) int {
	args := make([]string, l.GetTop())
	for i := range args {
		switch v := l.Get(i + 1).(type) {
		case lua.LString, lua.LNumber:
			args[i] = v.String()
		default:
			l.RaiseError("ERR argument %d of a command is neither a string nor a number", i+1)
		}
	}
	in.work += len(args)
	in.answers.Reset()
	if in.refuses(args[0]) {
		in.peer.WriteError("OOM command not allowed when used memory > 'maxmemory'.")
	} else {
		in.dispatch(in.peer, args)
	}
	in.peer.Flush()
	in.reader.Reset(&in.answers)
	reply, err := server.ParseReply(in.reader)
	switch {
	case err != nil && raise:
		l.Error(lua.LString(err.Error()), 0)
	case err != nil:
		l.Push(table("err", err.Error()))
	default:
		l.Push(toLua(reply))
	}
	return 1
}

// refuses reports whether the memory is too full for a command of a script: Redis stops none that has begun to write.
func (in *interpreter) refuses(command string) bool {
	switch strings.ToUpper(command) {
	case "SET", "ZADD", "HSET":
		if in.full && !in.wrote {
			return true
		}
		in.wrote = true
	case "ZREM", "ZREMRANGEBYSCORE", "HDEL", "PEXPIRE", "PERSIST":
		in.wrote = true
	}
	return false
}

// toLua and writeLua follow Redis's rules: a missing value is false, a status a table with ok, and a number on
// its way out loses its fraction.
func toLua(reply any) lua.LValue {
	switch r := reply.(type) {
	case nil:
		return lua.LFalse
	case int:
		return lua.LNumber(r)
	case int64:
		return lua.LNumber(r)
	case string:
		return lua.LString(r)
	case []byte:
		return lua.LString(r)
	case server.Simple:
		return table("ok", string(r))
	case []any:
		t := &lua.LTable{}
		for _, each := range r {
			t.Append(toLua(each))
		}
		return t
	}
	panic(fmt.Sprintf("sim: a reply of type %T", reply))
}

func writeLua(p *server.Peer, v lua.LValue) {
	switch v := v.(type) {
	case lua.LNumber:
		p.WriteInt(int(v))
	case lua.LString:
		p.WriteBulk(string(v))
	case *lua.LTable:
		if err := v.RawGetString("err"); err != lua.LNil {
			p.WriteError(err.String())
			return
		}
		if ok := v.RawGetString("ok"); ok != lua.LNil {
			p.WriteInline(ok.String())
			return
		}
		n := 0
		for v.RawGetInt(n+1) != lua.LNil {
			n++
		}
		p.WriteLen(n)
		for i := range n {
			writeLua(p, v.RawGetInt(i+1))
		}
	default: // nil and false; true is 1
		if v == lua.LTrue {
			p.WriteInt(1)
		} else {
			p.WriteNull()
		}
	}
}
