// Package dashboards has no code. Beside it are a Grafana dashboard (passbuddy.json), Prometheus alert rules
// (passbuddy.rules.yml) and their unit tests (passbuddy.rules.test.yml), for the metrics of packages leaseprom and
// leaseotel. Its tests run them with a real Prometheus. docs/operations.md says what each alert means and what to do.
package dashboards
