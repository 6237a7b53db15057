"""An example for each code of a reason, with the remedy carried out; the pages of docs/reasons/ are made of them."""
