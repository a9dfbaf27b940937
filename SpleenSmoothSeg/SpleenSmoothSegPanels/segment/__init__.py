"""The Segment section: panels, logic, the result, the uncertainty map."""
