ALTER TABLE "attempts" ADD COLUMN "jobs_ahead" integer;--> statement-breakpoint
ALTER TABLE "clusters" ADD COLUMN "has_accounting" boolean;