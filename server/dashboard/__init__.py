"""The pages that people look at: jobs, tasks, runs, machines; rendered here, kept up to date live."""
