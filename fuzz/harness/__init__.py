"""What every fuzzer needs: processes, limits, verdicts."""
