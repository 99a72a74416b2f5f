package postgres

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/coder/aibridged/aibridgedserver"
)

// SQLSTATE codes and classes.
const (
	stateReadOnly      = "25006" // A transaction that writes, on a standby.
	stateSerialization = "40001"
	stateDeadlock      = "40P01"
	stateLockTimeout   = "55P03"
	stateUnique        = "23505"
	stateCheck         = "23514"
	stateTableExists   = "42P07"
	stateTypeExists    = "42710" // Also that of the rows of a table.

	classData       = "22"
	classConstraint = "23"
	classLimit      = "54" // A value is too large or too complex.
)

// stateOf returns the SQLSTATE of an error, or nothing.
func stateOf(err error) string {
	failure, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return ""
	}
	return failure.Code
}

// fault implements [aibridgedserver.Database.Fault]. What is not known to be the record's own fault may succeed later:
// above all a lost connection (class 08), a server that stops or starts (57P), one without a free connection (53300), or
// one that is a standby (25006).
func fault(err error) aibridgedserver.Fault {
	state := stateOf(err)
	switch {
	case state == stateSerialization, state == stateDeadlock, isMoved(err):
		return aibridgedserver.FaultAgain
	case len(state) == 5 && (state[:2] == classData || state[:2] == classConstraint || state[:2] == classLimit):
		return aibridgedserver.FaultRecord
	}
	return aibridgedserver.FaultUnavailable
}

// isMoved reports whether a row was on its way into the partition for the rest when the partition of its month was made. It
// waited for that, and belongs there now.
func isMoved(err error) bool {
	failure, ok := errors.AsType[*pgconn.PgError](err)
	return ok && failure.Code == stateCheck && failure.ConstraintName == "" && strings.HasSuffix(failure.TableName, restPartition)
}

// isContention reports whether an error says that another transaction was in the way.
func isContention(state string) bool {
	return state == stateLockTimeout || state == stateDeadlock || state == stateSerialization
}

// redact returns an error without what may be of a record, prompts for example, if it is the server's. It leaves what the
// server says of itself: of the classes whose messages repeat values, that is their code.
func redact(err error) error {
	failure, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return err
	}
	failure.Detail, failure.Where, failure.Hint, failure.InternalQuery = "", "", "", ""
	if len(failure.Code) != 5 || !strings.Contains(" 08 23 25 28 3D 40 42 53 54 55 57 ", " "+failure.Code[:2]+" ") {
		failure.Message = "the text is left out, since it may repeat a value"
	}
	return err
}
