package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/printer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/yuin/gopher-lua/parse"
)

// fit names the mutants whose text is not in the code, that change nothing, or that do not compile. The
// type checker runs in this process, on what the compiler exported for the imports: a build of each mutant
// would take minutes.
func fit(all []mutant, _ int) error {
	if err := named(all); err != nil {
		return err
	}
	sources, err := readTree()
	if err != nil {
		return err
	}
	check, err := newTypeCheck(sources)
	if err != nil {
		return err
	}
	misfits := 0
	names := map[string]bool{}
	for _, m := range all {
		with, err := sources.changed(m)
		if err == nil {
			err = check.compile(with)
		}
		if err == nil && names[m.name] {
			err = errors.New("another mutant has this name")
		}
		names[m.name] = true
		if err != nil {
			misfits++
			fmt.Printf("%-55s %v\n", m.name, err)
		}
	}
	fmt.Printf("%d of %d mutants fit the code\n", len(all)-misfits, len(all))
	if misfits > 0 {
		return errors.New("the list has to follow the code")
	}
	return nil
}

// equal reports whether two texts of a file say the same, whatever their comments and layout.
func equal(path, one, other string) (bool, error) {
	a, err := essence(path, one)
	if err != nil {
		return false, err
	}
	b, err := essence(path, other)
	return a == b, err
}

func essence(path, text string) (string, error) {
	if filepath.Ext(path) == ".lua" {
		chunk, err := parse.Parse(strings.NewReader(text), path)
		if err != nil {
			return "", err
		}
		return parse.Dump(chunk), nil
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, text, parser.SkipObjectResolution) // without comments
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = printer.Fprint(&b, fset, file)
	return strings.Join(strings.Fields(b.String()), " "), err
}

// A typeCheck type-checks packages of the module.
type typeCheck struct {
	fset     *token.FileSet
	packages map[string]listed    // by directory
	parsed   map[string]*ast.File // by path: the files as they are
	imports  types.Importer
}

// listed is what go list says of a package.
type listed struct {
	Dir, ImportPath, Export string
	GoFiles                 []string
}

func newTypeCheck(sources tree) (*typeCheck, error) {
	cmd := exec.Command("go", "list", "-export", "-deps", "-json=Dir,ImportPath,Export,GoFiles", "./...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	root, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	c := &typeCheck{fset: token.NewFileSet(), packages: map[string]listed{}, parsed: map[string]*ast.File{}}
	exports := map[string]string{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		exports[p.ImportPath] = p.Export
		if dir, err := filepath.Rel(root, p.Dir); err == nil && filepath.IsLocal(dir) {
			c.packages[dir] = p
		}
	}
	for path, text := range sources {
		if filepath.Ext(path) == ".go" {
			if c.parsed[path], err = c.parse(path, text); err != nil {
				return nil, err
			}
		}
	}
	c.imports = importer.ForCompiler(c.fset, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})
	return c, nil
}

func (c *typeCheck) parse(path, text string) (*ast.File, error) {
	return parser.ParseFile(c.fset, path, text, parser.SkipObjectResolution)
}

// compile returns the errors of the packages that have the changed files. Lua was parsed already.
func (c *typeCheck) compile(with tree) error {
	var errs []error
	checked := map[string]bool{}
	for path := range with {
		dir := filepath.Dir(path)
		if filepath.Ext(path) != ".go" || checked[dir] {
			continue
		}
		checked[dir] = true
		var files []*ast.File
		for _, name := range c.packages[dir].GoFiles {
			file := c.parsed[filepath.Join(dir, name)]
			if text, changed := with[filepath.Join(dir, name)]; changed {
				var err error
				if file, err = c.parse(filepath.Join(dir, name), text); err != nil {
					return fmt.Errorf("does not compile: %w", err)
				}
			}
			files = append(files, file)
		}
		conf := types.Config{Importer: c.imports, Error: func(err error) {
			errs = append(errs, fmt.Errorf("does not compile: %w", err))
		}}
		conf.Check(c.packages[dir].ImportPath, c.fset, files, nil) // what it returns, it has told to Error
	}
	return errors.Join(errs...)
}
