//go:build !linux

package redistest

import "net"

// stopListening closes a listener. A child process that is being started may
// hold its address for a moment longer.
func stopListening(l *net.TCPListener) error { return l.Close() }
