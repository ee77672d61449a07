//go:build tools

// Package tools names what go.mod is here to pin: h2spec has no module file of its own, so its
// dependencies would otherwise be whatever is newest on the day it is built.
package tools

import _ "github.com/summerwind/h2spec/cmd/h2spec"
