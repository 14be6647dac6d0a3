module github.com/eqworks/passbuddy/cmd/passbuddy

go 1.26.0

require (
	github.com/creack/pty v1.1.24
	github.com/eqworks/passbuddy v0.0.0
	github.com/eqworks/passbuddy/extra/leaseweb v0.0.0
	github.com/google/uuid v1.6.0
	github.com/redis/go-redis/v9 v9.23.0
	github.com/spf13/cobra v1.10.2
	golang.org/x/sys v0.48.0
	golang.org/x/term v0.38.0
)

require (
	github.com/benbjohnson/clock v1.3.5 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/spf13/pflag v1.0.9 // indirect
	go.uber.org/atomic v1.12.0 // indirect
)

replace (
	github.com/eqworks/passbuddy => ../..
	github.com/eqworks/passbuddy/extra/leaseweb => ../../extra/leaseweb
)
