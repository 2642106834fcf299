"""What every floor stands on: errors, records, progress, output."""
