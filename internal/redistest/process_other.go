//go:build !unix

package redistest

import (
	"errors"
	"os"
	"syscall"
)

// The package compiles where there are no Unix signals so that tests that use
// it do; with no redis-server to be found there they skip.

func dieWithParent() *syscall.SysProcAttr { return nil }

func stopProcess(*os.Process) error { return errors.ErrUnsupported }

func continueProcess(*os.Process) error { return errors.ErrUnsupported }
