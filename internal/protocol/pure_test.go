package protocol

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The package decides, and does nothing: it reads no clock, waits for nothing and starts nothing.
func TestThePackageIsPureByItsImports(t *testing.T) {
	allowed := []string{
		"cmp", "container/heap", "errors", "slices", "time", "github.com/eqworks/passbuddy/internal/backoff",
		"sync/atomic", // the end of a window, which the context of a lease reads without the lock
	}
	// What those packages have that is not pure.
	does := []string{
		"time.Now", "time.Since", "time.Until", "time.Sleep", "time.After", "time.AfterFunc", "time.Tick", "time.NewTimer",
		"time.NewTicker", "backoff.Sleep",
	}
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range file.Imports {
			if path, _ := strconv.Unquote(spec.Path.Value); !slices.Contains(allowed, path) {
				t.Errorf("%s imports %s", name, path)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if _, ok := n.(*ast.GoStmt); ok {
				t.Errorf("%s starts a goroutine", name)
			}
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok && slices.Contains(does, x.Name+"."+s.Sel.Name) {
					t.Errorf("%s calls %s.%s", name, x.Name, s.Sel.Name)
				}
			}
			return true
		})
	}
}
